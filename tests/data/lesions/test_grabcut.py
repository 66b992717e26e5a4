import numpy as np
import pytest

from thirdaxis.data.lesions.grabcut import grabcut

pytest.importorskip("cv2")
SIZE = (96, 112)
CENTRE, AXES = (60.0, 44.0), (14.0, 8.0)  # x and y
BOX = np.array([41.0, 31, 79, 57])  # the extent of the diameters and 5 pixels more
RECIST = np.array([46.0, 44, 74, 44, 60, 36, 60, 52])


def scene(contrast, seed=0):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    across, down = (columns - CENTRE[0]) / AXES[0], (rows - CENTRE[1]) / AXES[1]
    truth = across**2 + down**2 <= 1
    noise = np.random.default_rng(seed).normal(0, 2, SIZE)
    return np.clip(90 + contrast * truth + noise, 0, 255).astype(np.uint8), truth


def overlap(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_a_lesion_is_outlined_better_than_by_its_quadrilateral():
    pixels, truth = scene(60)
    found = grabcut(pixels, BOX, RECIST)
    assert found.dtype == bool and found.shape == SIZE
    assert overlap(found, truth) > 0.97
    quadrilateral = grabcut(np.zeros_like(pixels), np.array([-9.0, -9, 200, 200]), RECIST)
    assert overlap(quadrilateral, truth) < 0.9


def test_the_quadrilateral_always_belongs_and_nothing_beyond_the_box():
    # The lesion is as its surroundings: nothing but the marks tells it.
    found = grabcut(scene(0)[0], BOX, RECIST)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    diamond = abs(columns - 60) / 14 + abs(rows - 44) / 8 <= 0.9
    assert found[diamond].all()
    outside = np.ones(SIZE, bool)
    outside[31:58, 41:80] = False
    assert not found[outside].any()


def test_the_ends_are_taken_around_the_lesion_and_not_crosswise():
    # A box over everything leaves no background to learn from: the quadrilateral is the answer.
    found = grabcut(scene(0)[0], np.array([-9.0, -9, 200, 200]), RECIST)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    far = abs(columns - 60) / 14 + abs(rows - 44) / 8
    assert found[far < 0.9].all() and not found[far > 1.15].any()


@pytest.mark.parametrize("recist", [None, np.full(8, np.nan)])
def test_without_diameters_the_box_tells(recist):
    pixels, truth = scene(60)
    assert overlap(grabcut(pixels, BOX, recist), truth) > 0.97
    left = grabcut(pixels, np.array([-1.0, -1, 112, 96]), recist)
    assert abs(left.mean() - np.pi / 4) < 0.02  # the ellipse in the box, here the whole image


def test_a_lesion_thinner_than_a_pixel_is_not_empty():
    pixels = scene(0)[0]
    for box in (
        [10.4, 10.4, 10.6, 10.6],
        [10.2, 10.2, 10.4, 10.4],
        [10.6, 3.0, 10.7, 30.0],
        [111.2, 95.1, 111.4, 95.3],
    ):
        for recist in (None, np.array([box[0], box[1]] * 4)):
            assert grabcut(pixels, np.array(box), recist).any()


def test_the_same_lesion_gets_the_same_outline():
    # Little but noise: what the clusters start from tells.
    for seed in range(6):
        pixels = np.random.default_rng(seed).normal(100, 25, (64, 64))
        pixels[20:40, 20:40] += 8
        pixels = np.clip(pixels, 0, 255).astype(np.uint8)
        box, ends = np.array([14.0, 14, 46, 46]), np.array([20.0, 30, 40, 30, 30, 22, 30, 38])
        found = [grabcut(pixels, box, ends).tobytes() for _ in range(5)]
        assert len(set(found)) == 1
