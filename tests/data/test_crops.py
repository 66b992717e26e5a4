import nibabel
import numpy as np
import pytest
import torch

from thirdaxis.data.crops import Box, mask_centre, read_crop
from thirdaxis.data.grid import to_grid
from thirdaxis.data.samples import Columns, Sample, read_samples
from thirdaxis.data.volume import Volume, read_volume
from thirdaxis.errors import InputError, UsageError

# x, y, z of the file: a bright voxel in noise, on a grid that is LPS with its own spacing
PLACE, SHAPE, SPACING = (7, 5, 4), (14, 12, 9), (0.5, 0.75, 2.0)
# Beside the bright voxel of 100, rounding of its place shows.
CLOSE = {"atol": 1e-3, "rtol": 0}


@pytest.fixture
def sample(tmp_path) -> Sample:
    array = np.random.default_rng(0).normal(0, 0.01, SHAPE).astype(np.float32)
    array[PLACE] = 100
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    affine[:3, 3] = (30, -20, 10)
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "scan.nii.gz")
    mask = np.zeros(SHAPE, np.uint8)
    mask[PLACE] = 1
    nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "mask.nii.gz")
    world = affine[:3, :3] @ PLACE + affine[:3, 3]
    return Sample(
        name="scan",
        file=tmp_path / "scan.nii.gz",
        labels=(),
        patient="p",
        mask=tmp_path / "mask.nii.gz",
        centre=(float(world[0]), float(world[1]), float(world[2])),
    )


def brightest(crop: Volume) -> list[int]:
    flat = int(crop.array[0].argmax())
    return [int(n) for n in np.unravel_index(flat, crop.shape)]


def moved(sample: Sample, **changes: object) -> Sample:
    return Sample(**{**vars(sample), **changes})


@pytest.mark.parametrize("around", ["mask", "centre"])
@pytest.mark.parametrize("orientation", ["SPL", "RAS", "IAR"])
def test_the_centre_is_in_the_middle(sample, around, orientation):
    box = Box(around=around, size=(3, 5, 7), orientation=orientation)
    crop = read_crop(sample, box)
    assert crop.shape == (3, 5, 7) and brightest(crop) == [1, 2, 3]
    # Nothing was interpolated, and the box lies where the scan has these voxels.
    whole = to_grid(read_volume(sample.file), orientation)
    first = torch.linalg.solve(whole.affine, crop.affine)[:3, 3].round().long().tolist()
    d, h, w = first
    torch.testing.assert_close(crop.array, whole.array[:, d : d + 3, h : h + 5, w : w + 7], **CLOSE)


@pytest.mark.parametrize("unit", ["lps", "voxel"])
def test_a_point_may_be_in_other_units(sample, unit):
    x, y, z = sample.centre
    told = moved(sample, centre=(-x, -y, z) if unit == "lps" else PLACE)
    crop = read_crop(told, Box(around="centre", size=(3, 3, 3), unit=unit))
    expected = read_crop(sample, Box(around="centre", size=(3, 3, 3)))
    torch.testing.assert_close(crop.array, expected.array)
    torch.testing.assert_close(crop.affine, expected.affine)


def test_sizes_in_millimetres(sample):
    by_size = read_crop(sample, Box(around="mask", size=(5, 9, 9), spacing=(1.0, 0.5, 0.5)))
    by_mm = Box(around="mask", size_mm=(5, 4.5, 4.5), spacing=(1.0, 0.5, 0.5))
    both = Box(around="mask", size_mm=(5, 4.5, 4.5), size=(5, 9, 9))
    for box in (by_mm, both):
        torch.testing.assert_close(read_crop(sample, box).array, by_size.array)
    assert by_size.spacing == pytest.approx((1.0, 0.5, 0.5)) and brightest(by_size) == [2, 4, 4]


def test_values_between_voxels_are_their_mean(sample):
    crop = read_crop(sample, Box(around="mask", size=(3, 3, 3), spacing=(1.0, 0.75, 0.5)))
    assert float(crop.array[0, 1, 1, 1]) == pytest.approx(100, abs=0.1)
    assert float(crop.array[0, 0, 1, 1]) == pytest.approx(50, abs=0.1)  # half a slice away
    assert float(crop.array[0, 1, 0, 1]) == pytest.approx(0, abs=0.1)


def test_margins_go_around_the_box(sample):
    tight = read_crop(sample, Box(around="mask", size=(3, 5, 5)))
    wide = read_crop(sample, Box(around="mask", size=(3, 5, 5), margin=2))
    assert wide.shape == (7, 9, 9)
    torch.testing.assert_close(wide.array[:, 2:-2, 2:-2, 2:-2], tight.array, **CLOSE)


def test_outside_the_scan_its_border_goes_on(sample):
    crop = read_crop(sample, Box(around="mask", size=(21, 3, 3)))
    assert torch.equal(crop.array[:, 0], crop.array[:, 3]) and brightest(crop) == [10, 1, 1]


def test_the_whole_scan(sample):
    own = read_crop(sample, Box(around="whole"))
    assert own.shape == (9, 12, 14)
    torch.testing.assert_close(own.array, to_grid(read_volume(sample.file)).array)
    spaced = read_crop(sample, Box(around="whole", spacing=(1.0, 1.0, 1.0)))
    assert spaced.shape == (18, 9, 7)
    sized = read_crop(sample, Box(around="whole", size=(6, 8, 8)))
    extents = [n * step for n, step in zip(sized.shape, sized.spacing, strict=True)]
    assert sized.shape == (6, 8, 8) and extents == pytest.approx([18, 9, 7])


def test_the_middle(sample):
    crop = read_crop(sample, Box(around="middle", size=(9, 12, 14)))
    torch.testing.assert_close(crop.array, to_grid(read_volume(sample.file)).array)


def test_a_spacing_of_the_table_replaces_the_files(sample):
    told = moved(sample, spacing=(1.0, 1.5, 4.0))
    crop = read_crop(told, Box(around="mask", size=(3, 3, 3)))
    assert crop.spacing == pytest.approx((4.0, 1.5, 1.0)) and brightest(crop) == [1, 1, 1]


def test_the_centre_of_a_mask_is_that_of_its_mass():
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.int16)
    labels[0, 1, 1, 1] = labels[0, 1, 1, 2] = labels[0, 1, 3, 0] = 3
    found = mask_centre(Volume(labels, torch.eye(4, dtype=torch.float64)))
    assert found.tolist() == pytest.approx([1, 5 / 3, 1])


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"around": "mask"}, "needs a size"),
        ({"size_mm": (1.0, 1.0, 1.0)}, "needs a spacing"),
        ({"size": (1, 1, 1), "size_mm": (1.0,) * 3, "spacing": (1.0,) * 3}, "two make a box"),
        ({"around": "whole", "size": (1, 1, 1), "spacing": (1.0,) * 3}, "not both"),
    ],
)
def test_what_makes_no_box_is_refused(told, message):
    with pytest.raises(UsageError, match=message):
        Box(**told)


def test_samples_without_a_place_are_refused(sample):
    box = Box(around="mask", size=(3, 3, 3))
    with pytest.raises(UsageError, match="column of masks"):
        read_crop(moved(sample, mask=None), box)
    with pytest.raises(UsageError, match="three columns"):
        read_crop(moved(sample, centre=None), Box(around="centre", size=(3, 3, 3)))
    with pytest.raises(InputError, match="outside; is its unit 'ras'"):
        read_crop(moved(sample, centre=(300, 0, 0)), Box(around="centre", size=(3, 3, 3)))


def test_an_empty_mask_and_a_constant_scan_are_refused(sample, tmp_path):
    blank = np.zeros(SHAPE, np.uint8)
    nibabel.save(nibabel.Nifti1Image(blank, np.eye(4)), tmp_path / "blank.nii.gz")
    box = Box(around="mask", size=(3, 3, 3))
    with pytest.raises(InputError, match="blank.nii.gz: the mask is empty"):
        read_crop(moved(sample, mask=tmp_path / "blank.nii.gz"), box)
    with pytest.raises(InputError, match="is 0 everywhere"):
        read_crop(moved(sample, file=tmp_path / "blank.nii.gz"), Box(size=(3, 3, 3)))


def test_nodules_lie_in_the_middle_of_their_crops(shared_data):
    columns = Columns(labels=("malignancy",), mask="file")
    table = shared_data / "lidc_nodules" / "labels.csv"
    rows = read_samples(table, columns, images="images", masks="masks")
    box = Box(around="mask", size=(25, 25, 25), spacing=(1.0, 1.0, 1.0))
    inner, outer = [], []
    for row in rows[:120:10]:
        crop = read_crop(row, box).array[0]
        inner.append(float(crop[11:14, 11:14, 11:14].mean()))
        outer.append(float(crop.mean()))
    # Nodules are soft tissue, what is around them mostly lung.
    assert np.mean(inner) > -350 and np.mean(outer) < -550
