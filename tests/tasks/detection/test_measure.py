from itertools import permutations

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.data.grid import to_grid
from thirdaxis.data.volume import read_volume
from thirdaxis.tasks.detection.link import Linking
from thirdaxis.tasks.detection.measure import Boxes, lesions_of, mask_diameters

CODES = ["".join(code) for code in permutations("RAS")] + ["LPS", "PIL", "IRA"]
STEPS = {"R": 0.7, "L": 0.7, "A": 0.8, "P": 0.8, "S": 2.5, "I": 2.5}


def written(path, code):
    """A file of any orientation with a bright box in it; its voxels along i, j, k and its place."""
    shape = (30, 26, 14)
    image = np.zeros(shape, np.float32)
    inside = np.array([[4, 12], [8, 15], [3, 9]])  # first and last voxel along each axis
    image[tuple(slice(low, high + 1) for low, high in inside)] = 100
    affine = np.zeros((4, 4))
    for axis, letter in enumerate(code):
        line = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}[letter]
        affine[line, axis] = STEPS[letter] * (1 if letter in "RAS" else -1)
    affine[:, 3] = (-40, 25, 7, 1)
    nibabel.save(nibabel.Nifti1Image(image, affine), path)
    return inside, affine


@pytest.mark.parametrize("code", CODES)
def test_extent_and_place_are_those_of_the_file(tmp_path, code):
    inside, affine = written(tmp_path / "scan.nii", code)
    scan = read_volume(tmp_path / "scan.nii")
    turned = to_grid(scan)
    bright = turned.array[0].numpy() > 50
    slices = np.nonzero(bright.any((1, 2)))[0]
    rows, columns = (np.nonzero(bright.any(axes))[0] for axes in ((0, 2), (0, 1)))
    box = [columns.min(), rows.min(), columns.max(), rows.max()]
    boxes = np.array([box] * len(slices), float)
    found = Boxes(slices, boxes, np.linspace(0.5, 0.9, len(slices)))
    (lesion,) = lesions_of(found, scan, turned, Linking())
    assert lesion.voxels == tuple((int(low), int(high)) for low, high in inside)
    middle = affine @ [*inside.mean(1), 1]
    assert lesion.centre_ras_mm == pytest.approx(tuple(middle[:3]))
    assert lesion.centre_lps_mm == pytest.approx((-middle[0], -middle[1], middle[2]))
    sizes = dict(zip(code, (inside[:, 1] - inside[:, 0] + 1).tolist(), strict=True))
    mm = {letter: count * STEPS[letter] for letter, count in sizes.items()}
    expected = [next(mm[one] for one in pair if one in mm) for pair in ("RL", "AP", "SI")]
    assert lesion.size_mm == pytest.approx(tuple(expected))
    assert lesion.measured_from == "box"
    assert (lesion.long_mm, lesion.short_mm) == pytest.approx(
        tuple(sorted(expected[:2], reverse=True))
    )
    assert lesion.key_slice == slices[-1] and lesion.score == pytest.approx(0.9)


def test_the_margin_of_boxes_is_taken_off_their_diameters(tmp_path):
    written(tmp_path / "scan.nii", "RAS")
    scan = read_volume(tmp_path / "scan.nii")
    turned = to_grid(scan)
    found = Boxes(np.array([2]), np.array([[2.0, 2, 21, 16]]), np.array([0.8]))
    (lesion,) = lesions_of(found, scan, turned, Linking(), margin=5)
    assert (lesion.long_mm, lesion.short_mm) == pytest.approx((10 * 0.7, 5 * 0.8))
    assert lesion.size_mm == pytest.approx((20 * 0.7, 15 * 0.8, 2.5))


def test_diameters_of_masks_are_those_of_the_slice_with_the_longest(tmp_path):
    written(tmp_path / "scan.nii", "RAS")
    scan = read_volume(tmp_path / "scan.nii")
    boxes = np.array([[2.0, 2, 21, 16]] * 3)
    diameters = np.array([[5.0, 3.0], [8.0, 2.0], [7.0, 6.0]])
    found = Boxes(np.array([2, 3, 4]), boxes, np.array([0.8, 0.7, 0.9]), diameters)
    (lesion,) = lesions_of(found, scan, to_grid(scan), Linking())
    assert (lesion.long_mm, lesion.short_mm, lesion.measured_on) == (8.0, 2.0, 3)
    assert lesion.measured_from == "mask" and lesion.key_slice == 4


@given(
    long=st.floats(8, 20), short=st.floats(4, 8), turn=st.floats(0, np.pi), row=st.floats(0.5, 1.0)
)
def test_diameters_of_an_ellipse(long, short, turn, row):
    spacing = (row, 0.8)
    grid = np.stack(np.meshgrid(np.arange(120) * row, np.arange(90) * 0.8, indexing="ij"), -1)
    offset = grid - np.array([60 * row, 36])
    along = offset @ [np.cos(turn), np.sin(turn)]
    across = offset @ [-np.sin(turn), np.cos(turn)]
    mask = (along / (long / 2)) ** 2 + (across / (short / 2)) ** 2 <= 1
    found = mask_diameters(mask, spacing)
    assert found[0] == pytest.approx(long, abs=1.2)
    # Of an almost round mask the raster decides which diameter is the longest.
    assert found[1] == pytest.approx(short, abs=1.7)
    assert found[1] <= found[0]


def test_diameters_of_small_masks():
    one = np.zeros((5, 5), bool)
    assert mask_diameters(one, (1, 1)) == (0.0, 0.0)
    one[2, 1] = True
    assert mask_diameters(one, (0.5, 2.0)) == pytest.approx((2.0, 0.5))
    one[2, 1:4] = True
    assert mask_diameters(one, (1.0, 1.0)) == pytest.approx((3.0, 1.0))
