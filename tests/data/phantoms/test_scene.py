"""One slice of a phantom tells nothing; its neighbours tell nodules from vessels."""

import numpy as np
import pytest
from scipy import ndimage, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler

from thirdaxis.data.phantoms import scene as phantom_scene
from thirdaxis.data.phantoms.scene import scene
from thirdaxis.data.phantoms.shapes import Grid, Vessel, branch, lens, passer, section, vessel
from thirdaxis.errors import InputError

SIZE, SCENES = 96, 32


def scenes(thickness, seed=0):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom_scene, "REACH", 6.0)  # as far as this looks
        return [
            scene(np.random.default_rng((seed, number)), SIZE, thickness, lens, 1.0)
            for number in range(SCENES)
        ]


def centre_and_radius(thing):
    ends = thing.recist.reshape(4, 2)
    long, short = np.linalg.norm(ends[1::2] - ends[::2], axis=1)
    return np.rint(ends.mean(axis=0)).astype(int), (long + short) / 4


def labels(made):
    return np.array([thing.kind == "nodule" for one in made for thing in one.things])


def seen(made):
    """What can be measured of each thing in its key slice alone: (things, measures)."""
    found = []
    for one in made:
        key = one.slices[len(one.slices) // 2] + 850.0
        for thing in one.things:
            (x, y), radius = centre_and_radius(thing)
            patch = key[y - 9 : y + 10, x - 9 : x + 10]
            weight = np.clip(patch, 0, None)
            rows, columns = (place - place.mean() for place in np.indices(patch.shape))
            mass = weight.sum()
            spread = [(weight * a * b).sum() / mass for a, b in ((rows, rows), (columns, columns))]
            found.append(
                [
                    patch.max(),
                    patch[6:13, 6:13].mean(),
                    patch[6:13, 6:13].std(),
                    (patch > patch.max() / 2).sum(),
                    sum(spread),
                    ndimage.gaussian_laplace(patch, 1)[9, 9],
                    radius,
                    np.hypot(x - SIZE / 2, y - SIZE / 2),
                ]
            )
    return np.array(found)


def judged(made):
    """The least p of two-sample tests of all measures, and the AUC of a trained judge of them."""
    measures, truth = seen(made), labels(made)
    least = min(stats.ks_2samp(column[truth], column[~truth]).pvalue for column in measures.T)
    judge = LogisticRegression(class_weight="balanced")
    scores = cross_val_predict(
        judge, StandardScaler().fit_transform(measures), truth, cv=5, method="decision_function"
    )
    return least, roc_auc_score(truth, scores)


def alike(first, second, reach):
    """The highest correlation of a picture with parts of a larger one, wherever they lie."""
    side = len(first)
    found = []
    for down, right in np.ndindex(2 * reach + 1, 2 * reach + 1):
        part = second[down : down + side, right : right + side]
        found.append(np.corrcoef(first.ravel(), part.ravel())[0, 1])
    return max(found)


def oracle(made, steps):
    """AUC of how little each thing looks the same so many slices above and below its key slice."""
    changed = []
    for one in made:
        middle = len(one.slices) // 2
        reach = int(np.ceil(0.3 * steps * one.thickness / one.pixel))  # vessels drift meanwhile
        for thing in one.things:
            (x, y), radius = centre_and_radius(thing)
            half = int(radius)
            near = [slice(c - half, c + half + 1) for c in (y, x)]
            wide = [slice(c - half - reach, c + half + 1 + reach) for c in (y, x)]
            key = one.slices[middle][tuple(near)]
            sides = [one.slices[middle + side * steps][tuple(wide)] for side in (1, -1)]
            changed.append(-min(alike(key, other, reach) for other in sides))
    return roc_auc_score(labels(made), changed)


@pytest.fixture(scope="module", params=[1.0, 5.0], ids=["thin", "thick"])
def made(request):
    return scenes(request.param)


def test_a_key_slice_alone_does_not_tell(made):
    least, auc = judged(made)
    assert least > 0.001 and 0.4 < auc < 0.6


def test_neighbours_tell_near_and_far(made):
    steps = (2, 6) if made[0].thickness == 1 else (1,)
    found = [oracle(made, step) for step in steps]
    assert min(found) > 0.9


def test_no_slice_by_itself_tells_what_lies_over_a_nodule(made):
    """Beyond the key slice something as bright lies at the places of nodules too."""
    bright = []
    for one in made:
        other = one.slices[len(one.slices) // 2 + (2 if one.thickness == 1 else 1)]
        for thing in one.things:
            (x, y), _ = centre_and_radius(thing)
            bright.append(other[y - 3 : y + 4, x - 3 : x + 4].mean())
    auc = roc_auc_score(labels(made), bright)
    assert 0.3 < auc < 0.7


@pytest.mark.parametrize("wrong", ["brighter", "larger"])
def test_a_wrong_generator_is_found_out(wrong, monkeypatch):
    def planted(random, grid, shown):
        one = vessel(random, grid, shown)
        if wrong == "brighter":
            return Vessel(1.25 * shown, one.path, one.there)
        return Vessel(ndimage.maximum_filter(shown, 3), one.path, one.there)

    monkeypatch.setattr(phantom_scene, "vessel", planted)
    least, auc = judged(scenes(1.0))
    assert least < 0.001 or auc > 0.6


def test_vessels_that_change_as_nodules_do_are_found_out(monkeypatch):
    def planted(random, grid, shown):
        one = vessel(random, grid, shown)
        return Vessel(shown, one.path, (np.abs(grid.heights) < 0.5).astype(float))

    monkeypatch.setattr(phantom_scene, "vessel", planted)
    assert oracle(scenes(1.0), 2) < 0.75


def test_stored_slices_are_averages_of_fine_ones():
    grid = Grid(5.0, 3, 0.5)
    assert len(grid.heights) == 70 and grid.heights[grid.key] == pytest.approx(
        np.arange(-2.25, 2.5, 0.5)
    )
    fine = np.random.default_rng(0).normal(size=(70, 3, 4))
    np.testing.assert_allclose(grid.stored(fine)[3], fine[grid.key].mean(axis=0))
    thin = Grid(1.0, 15, 0.5)
    solids = [lens(np.random.default_rng(1), one) for one in (thin, grid)]
    shown = [section(solid, one).sum() for solid, one in zip(solids, (thin, grid), strict=True)]
    assert shown[1] < 0.85 * shown[0]  # partial volume


@pytest.mark.parametrize("thickness", [1.0, 5.0])
def test_on_the_key_slice_a_vessel_is_its_section_and_a_passer_is_not_there(thickness):
    random = np.random.default_rng(2)
    grid = Grid(thickness, 3, 0.5)
    shown = section(lens(random, grid), grid)
    one = vessel(random, grid, shown)
    assert (one.path[grid.key] == 0).all() and (one.there == 1).all()
    assert np.abs(one.path[0]).max() > 0 and np.abs(one.path[-1]).max() > 0
    for side in (1, -1):
        other = passer(random, grid, shown, side, (0.0, 1.25))
        assert (other.there[grid.key] == 0).all()
        assert other.there[-1 if side == 1 else 0] == 1 and other.there[0 if side == 1 else -1] == 0


def test_nodules_end_within_4_mm():
    random = np.random.default_rng(3)
    grid = Grid(1.0, 15, 0.5)
    for _ in range(20):
        there = lens(random, grid).any(axis=(1, 2))
        assert there[grid.key].all() and not there[np.abs(grid.heights) > 3.75].any()


def test_branches_are_thin_and_lie_in_the_picture():
    picture = branch(np.random.default_rng(4), Grid(1.0, 15, 0.5), 128)
    assert picture.shape == (62, 128, 128) and 0 < (picture > 0).mean() < 0.01


def test_things_without_room_are_told(monkeypatch):
    monkeypatch.setattr(phantom_scene, "VESSELS", (60, 60))
    with pytest.raises(InputError, match="no place for"):
        scene(np.random.default_rng(0), SIZE, 5.0, lens)
