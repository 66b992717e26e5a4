import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thirdaxis.data.lesions.boxes import read_lesion_boxes
from thirdaxis.data.lesions.labels import lesions_of, read_lesion_labels
from thirdaxis.data.lesions.masks import masks_of
from thirdaxis.data.lesions.rle import decoded
from thirdaxis.errors import InputError

AFFINE = np.diag([0.5, 0.5, 2.0, 1.0])


@pytest.fixture
def folder(tmp_path):
    """One scan in RAS with lesions of value 2 inside an organ of value 1."""
    labels = np.zeros((12, 10, 5), np.uint8)
    labels[1:11, 1:9, 1:4] = 1
    labels[2:5, 3:5, 2] = 2
    labels[8, 7, 2] = labels[9, 8, 2] = 2  # touch at a corner
    labels[6, 3, 3] = 2
    for place in ("images", "labels"):
        (tmp_path / place).mkdir()
    scan = np.random.default_rng(0).integers(-1000, 1000, labels.shape).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(scan, AFFINE), tmp_path / "images" / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), tmp_path / "labels" / "a.nii.gz")
    return tmp_path


def test_parts_of_each_slice_are_lesions(folder):
    found = read_lesion_labels(folder, folder / "labels", values=[2])
    assert [one.name for one in found.slices] == ["a/002", "a/003"]
    # Columns and rows run against the file's: pixel 2 of 12 is column 9 of 0 to 11.
    assert sorted(found.slices[0].boxes.tolist()) == [[1.5, 0.5, 3.5, 2.5], [6.5, 4.5, 9.5, 6.5]]
    assert found.slices[1].boxes.tolist() == [[4.5, 5.5, 5.5, 6.5]]
    one = found.slices[0]
    assert one.size == (10, 12) and one.spacing == (2.0, 0.5, 0.5) and one.patient == "a"
    assert found.read(one, 3, 2.0).shape == (3, 10, 12)


def test_all_values_but_0_are_lesions_unless_told(folder):
    found = read_lesion_boxes(folder, folder / "labels")
    assert [one.name for one in found.slices] == ["a/001", "a/002", "a/003"]
    assert all(one.boxes.tolist() == [[0.5, 0.5, 10.5, 8.5]] for one in found.slices)


@pytest.mark.parametrize(("values", "count"), [("2", 3), ("1,2", 3), ("1", 3), ("3", None)])
def test_values_are_told_with_the_folder(values, count, folder):
    if count is None:
        with pytest.raises(InputError, match="no lesion in 1 label maps"):
            read_lesion_boxes(folder, f"{folder / 'labels'}:{values}")
        return
    found = read_lesion_boxes(folder, f"{folder / 'labels'}:{values}")
    told = read_lesion_labels(folder, folder / "labels", values=[int(v) for v in values.split(",")])
    assert [one.boxes.tolist() for one in found.slices] == [
        one.boxes.tolist() for one in told.slices
    ]
    assert sum(len(one.boxes) for one in found.slices) == count


def test_drawn_outlines_are_those_of_the_boxes(folder):
    found = read_lesion_labels(folder, folder / "labels", values=[2])
    masks = masks_of(found)
    for one in found.slices:
        for box, rle in zip(one.boxes, masks[one.name], strict=True):
            inside = np.argwhere(decoded(rle))
            ends = [*(inside.min(axis=0)[::-1] - 0.5), *(inside.max(axis=0)[::-1] + 0.5)]
            assert box.tolist() == ends
    assert sum(decoded(rle).sum() for rle in masks["a/002"]) == 8


def test_small_parts_are_passed_over(folder):
    found = read_lesion_labels(folder, folder / "labels", values=[2], smallest=3)
    assert [len(one.boxes) for one in found.slices] == [1]


@given(arrays(bool, (7, 9), elements=st.booleans()))
def test_every_pixel_belongs_to_one_lesion_and_lies_in_its_box(mask):
    boxes, masks = lesions_of(mask)
    assert len(boxes) == len(masks)
    np.testing.assert_array_equal(np.sum([*masks, np.zeros_like(mask)], axis=0), mask)
    assert (boxes[:, 2:] > boxes[:, :2]).all() and (boxes >= 0).all()
    for (x1, y1, x2, y2), one in zip(boxes.tolist(), masks, strict=True):
        rows, columns = np.nonzero(one)
        assert y1 <= rows.min() and rows.max() <= y2 and x1 <= columns.min() <= columns.max() <= x2
    # No two lesions touch: each is a part of its own even when grown by a pixel.
    grown = [np.pad(one, 1) for one in masks]
    for first, one in enumerate(grown):
        near = np.any(
            [np.roll(one, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0
        )
        assert not any((near & other).any() for other in grown[first + 1 :])


def test_label_maps_on_another_grid_or_without_a_scan_are_refused(folder):
    moved = AFFINE.copy()
    moved[0, 3] = 5
    path = folder / "labels" / "a.nii.gz"
    labels = np.zeros((12, 10, 5), np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, moved), path)
    with pytest.raises(InputError, match="lies on another grid"):
        read_lesion_labels(folder, folder / "labels")
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), path)
    with pytest.raises(InputError, match="no lesion in 1 label maps"):
        read_lesion_labels(folder, folder / "labels")
    path.rename(folder / "labels" / "b.nii.gz")
    with pytest.raises(InputError, match=r"b\.nii\.gz: .* has no scan of this name"):
        read_lesion_labels(folder, folder / "labels")
    with pytest.raises(InputError, match="no such folder"):
        read_lesion_labels(folder, folder / "none")
