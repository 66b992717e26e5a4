"""Boxes in whole volumes: whatever way a file runs, a box holds the voxels it was drawn around."""

import csv
import json

import nibabel
import numpy as np
import pytest

from thirdaxis.data.grid import to_grid
from thirdaxis.data.lesions.volumes import connected_boxes, read_boxed_volumes
from thirdaxis.data.volume import read_volume
from thirdaxis.errors import InputError

SHAPE, SPACING, ORIGIN = (14, 12, 9), (0.8, 1.1, 2.5), (-31.0, 12.5, 7.0)
ENDS = ("x1", "y1", "z1", "x2", "y2", "z2")
FIRST, LAST = (2, 4, 3), (5, 9, 6)  # voxels of the file that the lesion fills


def affine_of(order, signs):
    """An upright affine whose file axes run along these patient axes."""
    found = np.eye(4)
    found[:3, :3] = 0
    for axis, (along, sign) in enumerate(zip(order, signs, strict=True)):
        found[along, axis] = sign * SPACING[axis]
    found[:3, 3] = ORIGIN
    return found


def write_scan(folder, affine, name="scan", filled=True):
    array = np.zeros(SHAPE, np.float32)
    if filled:
        array[tuple(slice(a, b + 1) for a, b in zip(FIRST, LAST, strict=True))] = 1
    folder.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), folder / f"{name}.nii.gz")


def write_table(folder, rows, name="boxes.csv"):
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (folder / name).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def faces():
    """The lesion's ends in voxels of the file, from face to face."""
    return [a - 0.5 for a in FIRST] + [b + 0.5 for b in LAST]


def row(ends, unit="", **more):
    named = {f"{name}{unit}": end for name, end in zip(ENDS, ends, strict=True)}
    return {"file": "scan.nii.gz", **named, **more}


def in_mm(affine):
    low, high = np.array(faces()).reshape(2, 3)
    ends = np.array([affine @ [*low, 1], affine @ [*high, 1]])[:, :3]
    return [*ends.min(0), *ends.max(0)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_a_box_holds_the_voxels_of_its_lesion_whatever_it_is_told_in(tmp_path, order, signs):
    affine = affine_of(order, signs)
    write_scan(tmp_path, affine)
    x1, y1, z1, x2, y2, z2 = mm = in_mm(affine)
    lps = [-x2, -y2, z1, -x1, -y1, z2]
    turned = to_grid(read_volume(tmp_path / "scan.nii.gz")).array[0].numpy()
    places = np.argwhere(turned > 0)
    expected = [*(places.min(0) - 0.5), *(places.max(0) + 0.5)]
    for told in (row(faces()), row(mm, "_mm"), row(lps, "_lps_mm")):
        (found,) = read_boxed_volumes(tmp_path, write_table(tmp_path, [told]))
        np.testing.assert_allclose(found.boxes, [expected], atol=1e-5)
        assert found.grid.shape == turned.shape


def test_json_patients_splits_and_volumes_without_lesions(tmp_path):
    for name in ("a", "b"):
        write_scan(tmp_path, np.eye(4), name)
    rows = [
        {**row(faces()), "file": "a.nii.gz", "patient": "p", "split": "train"},
        {"file": "b.nii.gz", "patient": "q", "split": "test"},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps({"boxes": rows}), encoding="utf-8")
    found = read_boxed_volumes(tmp_path, tmp_path / "boxes.json")
    assert [(one.name, one.patient, one.split, len(one.boxes)) for one in found] == [
        ("a", "p", "train", 1),
        ("b", "q", "test", 0),
    ]


def test_a_box_on_one_slice_is_as_thick_as_that(tmp_path):
    write_scan(tmp_path, affine_of((0, 1, 2), (-1, -1, 1)))
    flat = {**dict(zip(ENDS, faces(), strict=True)), "file": "scan.nii.gz", "z": 4}
    del flat["z1"], flat["z2"]
    both = {**row(faces()), "z1": 4, "z2": 4}
    for told in (flat, both):
        (found,) = read_boxed_volumes(tmp_path, write_table(tmp_path, [told]))
        assert found.boxes[0, [0, 3]].tolist() == [3.5, 4.5]


def test_a_box_over_the_border_is_cut_there(tmp_path):
    write_scan(tmp_path, np.diag([-1.0, -1.0, 1.0, 1.0]))
    told = row([-7, 2.5, -0.5, 3.5, 40, 2.5])
    (found,) = read_boxed_volumes(tmp_path, write_table(tmp_path, [told]))
    assert found.boxes.tolist() == [[-0.5, 2.5, -0.5, 2.5, 11.5, 3.5]]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (row([3, 3, 3, 3, 5, 5]), "line 2: the box is inverted or of zero size, 3, 3, 3, 3, 5, 5"),
        (row([3, 6, 3, 5, 5, 5]), "inverted or of zero size"),
        (row([3, 3, 6, 5, 5, 5]), "inverted or of zero size"),
        (row([14.5, 3, 3, 20, 5, 5]), "lies outside scan.nii.gz, which has 14 x 12 x 9 voxels"),
        (row([3, 3, 9, 5, 5, 12]), "lies outside scan.nii.gz"),
        (row([3, 3, 3, 5, "far", 5]), "line 2: y2 is a number, not 'far'"),
        ({**row(faces()), "file": "none.nii.gz"}, "no scan .*none.nii.gz"),
        (row(faces(), split="tets"), "unknown split 'tets'; did you mean 'test'"),
        ({"file": "scan.nii.gz", "x1": 3}, "has no column 'y1'"),
    ],
)
def test_rows_that_cannot_be_used_are_told_or_left_out(tmp_path, told, said):
    write_scan(tmp_path, np.diag([-1.0, -1.0, 1.0, 1.0]))
    write_scan(tmp_path, np.eye(4), "other")
    with pytest.raises(InputError, match=said):
        read_boxed_volumes(tmp_path, write_table(tmp_path, [told]))
    faults = []
    table = write_table(tmp_path, [told, {"file": "other.nii.gz"}])
    found = read_boxed_volumes(tmp_path, table, faults=faults)
    assert [one.name for one in found] == ["other"]
    assert len(faults) == 1


def test_the_same_lesion_twice_and_an_empty_table(tmp_path):
    write_scan(tmp_path, np.eye(4))
    with pytest.raises(InputError, match="line 3: the same lesion as in .*line 2"):
        read_boxed_volumes(tmp_path, write_table(tmp_path, [row(faces()), row(faces())]))
    (tmp_path / "boxes.csv").write_text("file,x1\n", encoding="utf-8")
    with pytest.raises(InputError, match="names no volume to use"):
        read_boxed_volumes(tmp_path, tmp_path / "boxes.csv")


def test_label_maps_give_a_box_for_each_connected_part(tmp_path):
    drawn = np.zeros((7, 8, 9), bool)
    drawn[1:3, 2:4, 5] = True
    drawn[3, 4, 6] = True  # hangs on by a corner
    drawn[6, 0, 0] = True
    found = connected_boxes(drawn)
    assert sorted(found.tolist()) == [
        [0.5, 1.5, 4.5, 3.5, 4.5, 6.5],
        [5.5, -0.5, -0.5, 6.5, 0.5, 0.5],
    ]
    affine = affine_of((2, 0, 1), (1, -1, 1))
    write_scan(tmp_path / "images", affine)
    labels = tmp_path / "labels"
    labels.mkdir()
    stored = np.zeros(SHAPE, np.uint8)
    stored[FIRST[0] : 6, 5, 5], stored[13, 11, 8] = 2, 1
    nibabel.save(nibabel.Nifti1Image(stored, affine), labels / "scan.nii.gz")
    (every,) = read_boxed_volumes(tmp_path, labels)
    (one,) = read_boxed_volumes(tmp_path, f"{labels}:2")
    (none,) = read_boxed_volumes(tmp_path, f"{labels}:3")
    assert (len(every.boxes), len(one.boxes), len(none.boxes)) == (2, 1, 0)
    told = row([1.5, 4.5, 4.5, 5.5, 5.5, 5.5])
    (same,) = read_boxed_volumes(tmp_path / "images", write_table(tmp_path, [told]))
    np.testing.assert_allclose(one.boxes, same.boxes, atol=1e-5)


def test_label_maps_that_belong_to_no_scan(tmp_path):
    write_scan(tmp_path / "images", np.eye(4))
    write_scan(tmp_path / "labels", np.diag([1.0, 1.0, 1.2, 1.0]))
    with pytest.raises(InputError, match="lies on another grid"):
        read_boxed_volumes(tmp_path, tmp_path / "labels")
    write_scan(tmp_path / "labels", np.eye(4), "other")
    with pytest.raises(InputError, match="other.nii.gz: .* has no scan of this name"):
        read_boxed_volumes(tmp_path, tmp_path / "labels")
    with pytest.raises(InputError, match="no such table of boxes or folder of label maps"):
        read_boxed_volumes(tmp_path, tmp_path / "none.csv")
