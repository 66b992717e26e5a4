import itertools

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_fill_holes, center_of_mass, label

from thirdaxis.data.lidc.nodules import RULES, find_nodules, group, inside, reading_mask
from thirdaxis.data.lidc.xml import Outline, Reading

AFFINE = np.diag([2.5, 0.5, 0.5, 1.0])


def trace(picture):
    """The pixels just outside a blob, in order around it, as (column, row)."""
    ring = np.argwhere(binary_dilation(picture) & ~picture)
    away = ring - center_of_mass(picture)
    ring = ring[np.argsort(np.arctan2(away[:, 0], away[:, 1]))]
    return tuple((int(x), int(y)) for y, x in ring)


def disc(radius, centre=(15, 15), size=40):
    rows, columns = np.indices((size, size))
    return np.hypot(rows - centre[0], columns - centre[1]) < radius


def reading(reader, discs, malignancy=3, exclusions=()):
    """A reader who outlines a disc on each slice of `discs` and excludes others."""
    outlines = [Outline(str(d), None, False, trace(picture)) for d, picture in exclusions]
    outlines += [Outline(str(d), None, True, trace(picture)) for d, picture in discs]
    return Reading(reader, "n", {"malignancy": malignancy}, tuple(outlines))


def depth(outline):
    return int(outline.sop_uid)


def whole(corner, mask, shape=(9, 40, 40)):
    scan = np.zeros(shape, bool)
    scan[tuple(slice(c, c + n) for c, n in zip(corner, mask.shape, strict=True))] = mask
    return scan


@pytest.mark.parametrize("radius", [1.2, 1.9, 2.5, 4.3, 7.7, 12.0])
def test_an_outline_bounds_the_pixels_it_was_drawn_around(radius):
    picture = disc(radius)
    (top, left), found = inside(trace(picture))
    np.testing.assert_array_equal(whole((0, top, left), found[None], (1, 40, 40))[0], picture)


def test_crooked_outlines_agree_with_filling_holes():
    random = np.random.default_rng(0)
    seen = 0
    for _ in range(60):
        blob = disc(6) & ~disc(3, random.integers(9, 22, 2)) | disc(3, random.integers(12, 19, 2))
        blob = binary_fill_holes(label(blob)[0] == 1)
        # Walk the ring of outside pixels neighbour by neighbour, as a reader's pen does.
        left = {tuple(p) for p in np.argwhere(binary_dilation(blob) & ~blob)}
        walk = [min(left)]
        left.remove(walk[0])
        while left:
            y, x = walk[-1]
            near = [(y + a, x + b) for a, b in itertools.product((-1, 0, 1), repeat=2)]
            near = [p for p in near if p in left]
            if not near:
                break
            walk.append(min(near, key=lambda p: abs(p[0] - y) + abs(p[1] - x)))
            left.remove(walk[-1])
        if left or max(abs(np.subtract(walk[0], walk[-1]))) > 1:
            continue  # the ring touches itself, there is no one way round
        seen += 1
        (top, first), found = inside([(x, y) for y, x in walk])
        np.testing.assert_array_equal(whole((0, top, first), found[None], (1, 40, 40))[0], blob)
    assert seen > 10


def test_a_gap_in_an_outline_is_closed_and_a_line_bounds_nothing():
    _, square = inside([(0, 0), (4, 0), (4, 4), (0, 4)])
    expected = np.zeros((5, 5), bool)
    expected[1:4, 1:4] = True
    np.testing.assert_array_equal(square, expected)
    for points in ([(3, 3)], [(3, 3), (4, 4)], [(0, 0), (1, 1), (2, 2)], [(0, 0), (0, 1), (0, 0)]):
        assert not inside(points)[1].any()


def test_exclusions_take_away_whatever_their_order():
    hole = disc(2, (16, 14))
    one = reading(0, [(4, disc(6)), (5, disc(5))], exclusions=[(4, hole)])
    expected = np.zeros((9, 40, 40), bool)
    expected[4], expected[5] = disc(6) & ~hole, disc(5)
    np.testing.assert_array_equal(whole(*reading_mask(one, depth)), expected)
    two = reading(0, [(4, disc(3)), (4, disc(3, (30, 30)))])
    expected[4], expected[5] = disc(3) | disc(3, (30, 30)), False
    np.testing.assert_array_equal(whole(*reading_mask(two, depth)), expected)


def test_half_of_the_readers_make_the_nodule():
    radii = (3, 5, 7, 9)
    for count in (1, 2, 3, 4):
        readings = [reading(r, [(4, disc(radii[r]))], 2 + r) for r in range(count)]
        (nodule,) = find_nodules(readings, depth, AFFINE, 5.0)
        votes = sum(disc(radii[r]).astype(int) for r in range(count))
        np.testing.assert_array_equal(whole(nodule.corner, nodule.mask)[4], votes >= count / 2)
        assert nodule.malignancy_mean == pytest.approx(2 + (count - 1) / 2)
        assert nodule.volume_mm3 == pytest.approx((votes >= count / 2).sum() * 0.625)
        widths = [2 * radii[r] * 0.5 for r in range(count)]
        assert nodule.diameter_mm == pytest.approx(np.mean(widths), abs=0.5)


def test_ratings_become_one_and_of_two_the_lower():
    values = [[4, 5, 4, 5], [1, 2, 3, 4], [5, 5, 2, 1], [3], [2, 4]]
    assert [RULES["mode"](one) for one in values] == [4, 1, 5, 3, 2]
    assert [RULES["median"](one) for one in values] == [4, 2, 2, 3, 2]


def places(*heights):
    return [np.array([[0.0, 0.0, z], [1.0, 0.0, z]]) for z in heights]


@pytest.mark.parametrize(
    ("heights", "readers", "expected"),
    [
        ((0, 1, 2, 3), (0, 1, 2, 3), [[0, 1, 2, 3]]),  # a chain, its ends 3 mm apart
        ((0, 0.5, 9, 9.5), (0, 1, 0, 1), [[0, 1], [2, 3]]),
        ((0, 1, 2.2), (0, 1, 2), [[0, 1], [2]]),
        ((0, 0.3), (0, 0), [[0], [1]]),  # one reader's two are two
        ((0, 0.9, 1.3), (0, 1, 0), [[0], [1, 2]]),  # the nearer of one reader's two
        ((0, 0.1, 0.21, 0.33, 0.35), (0, 1, 2, 3, 1), [[0, 1, 2], [3, 4]]),
        ((5,), (2,), [[0]]),
        ((), (), []),
    ],
)
def test_marks_within_the_tolerance_are_one_nodule(heights, readers, expected):
    assert group(places(*heights), readers, 1.0) == expected


def test_groups_are_pylidcs_where_no_reader_marks_twice():
    """Against connected components of the graph of near pairs, the published rule."""
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import cdist

    random = np.random.default_rng(1)
    agreed = 0
    for _ in range(200):
        count = int(random.integers(2, 9))
        sets = [random.uniform(0, 12, 3) + random.normal(0, 0.5, (6, 3)) for _ in range(count)]
        readers = random.integers(0, 4, count).tolist()
        near = np.array([[cdist(a, b).min() <= 3 for b in sets] for a in sets])
        total, home = connected_components(near)
        parts = [np.flatnonzero(home == k).tolist() for k in range(total)]
        found = group(sets, readers, 3.0)
        assert sorted(itertools.chain(*found)) == list(range(count))
        assert all(len({readers[i] for i in one}) == len(one) <= 4 for one in found)
        if all(len({readers[i] for i in one}) == len(one) for one in parts):
            agreed += any(len(one) > 1 for one in parts)
            assert sorted(found) == sorted(parts)
    assert agreed > 20
