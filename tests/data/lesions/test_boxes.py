import json

import nibabel
import numpy as np
import pytest
import torch

from thirdaxis.data.grid import to_grid
from thirdaxis.data.lesions.boxes import read_lesion_boxes
from thirdaxis.data.volume import read_volume
from thirdaxis.errors import InputError

SHAPE = (20, 16, 6)  # x, y, z
HEADER = "file,patient,z,x1,y1,x2,y2,split"


@pytest.fixture
def folder(tmp_path):
    """`a` runs to the left, back and up as it is shown; `b` as RAS; `c` is sagittal."""
    array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    as_shown = np.diag([-0.5, -0.5, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(array, as_shown), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(array, np.diag([0.5, 0.5, 3.0, 1])), tmp_path / "b.nii")
    sagittal = np.array([[0, 0, 3.0, 0], [0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(array, sagittal), tmp_path / "c.nii")
    return tmp_path


def table(folder, *rows, header=HEADER):
    path = folder / "boxes.csv"
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def test_boxes_in_voxels_are_grouped_by_slice(folder):
    rows = ["a.nii.gz,P1,4,2,3,8,9,train", "a.nii.gz,P1,2,0,0,5,5,train", "b.nii,P2,4,2,3,8,9,test"]
    path = table(folder, *rows, "a.nii.gz,P1,4,10,3,12,25,train")
    found = read_lesion_boxes(folder, path)
    assert [one.name for one in found.slices] == ["a/002", "a/004", "b/004"]
    assert [one.patient for one in found.slices] == ["P1", "P1", "P2"]
    assert [one.split for one in found.slices] == ["train", "train", "test"]
    assert found.slices[1].boxes.tolist() == [[2, 3, 8, 9], [10, 3, 12, 15]]  # cut at the border
    assert found.slices[2].boxes.tolist() == [[11, 6, 17, 12]]  # both axes are turned
    one = found.slices[0]
    assert one.size == (16, 20) and one.spacing == (3.0, 0.5, 0.5) and one.recists is None
    assert one.kinds is not None and one.kinds.tolist() == [-1]
    stack = found.read(found.slices[2], 3, None)
    raw = np.arange(np.prod(SHAPE)).reshape(SHAPE)[::-1, ::-1, 3:6]
    np.testing.assert_array_equal(stack, raw.transpose(2, 1, 0))


def test_mm_and_voxels_tell_the_same(folder):
    rows = ["b.nii,12,1.0,1.5,4,4.5", "a.nii.gz,12,-4,-4.5,-1,-1.5", "c.nii,4,12,1,15,3"]
    found = read_lesion_boxes(
        folder, table(folder, *rows, header="file,z_mm,x1_mm,y1_mm,x2_mm,y2_mm")
    )
    assert [one.name for one in found.slices] == ["b/004", "a/004", "c/008"]
    torch.testing.assert_close(found.slices[0].boxes, torch.tensor([[11.0, 6, 17, 12]]))
    torch.testing.assert_close(found.slices[1].boxes, torch.tensor([[2.0, 3, 8, 9]]))
    # In c x is the file's third axis of 3 mm, y its first and z its second of 0.5 mm.
    torch.testing.assert_close(found.slices[2].boxes, torch.tensor([[0.0, 13, 1, 17]]))
    assert found.slices[2].size == (20, 6) and [one.patient for one in found.slices] == list("bac")


def test_boxes_through_slices_are_a_box_on_each(folder):
    rows = [
        {"file": "a.nii.gz", "x1": 2, "y1": 3, "x2": 8, "y2": 9, "z1": 1, "z2": 3, "kind": 5},
        {"file": "c.nii", "x1": 4, "y1": 8, "x2": 6, "y2": 10, "z1": 0, "z2": 2},
        {"file": "b.nii", "x1_mm": 1, "y1_mm": 1, "x2_mm": 2, "y2_mm": 2, "z1_mm": 4, "z2_mm": 5},
    ]
    path = folder / "boxes.json"
    for content in (rows, {"boxes": rows}):
        path.write_text(json.dumps(content), encoding="utf-8")
        found = read_lesion_boxes(folder, path)
        names = [f"a/00{number}" for number in (1, 2, 3)]
        names += ["c/008", "c/009", "c/010", "b/002"]  # 4 to 5 mm lie between slices of 3 mm
        assert [one.name for one in found.slices] == names
        assert found.slices[0].kinds is not None and found.slices[0].kinds.tolist() == [5]
        assert all(one.boxes.tolist() == [[2, 3, 8, 9]] for one in found.slices[:3])
        # The file's x is the body's y; its z the body's x, from right to left.
        assert all(one.boxes.tolist() == [[3, 13, 5, 15]] for one in found.slices[3:6])


GOOD = "a.nii.gz,P1,4,2,3,8,9,train"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("a.nii.gz,P1,4,8,3,2,9,train", r"line 3: the box is inverted or of zero size, 8, 3, 4, 2"),
        ("a.nii.gz,P1,4,2,3,2,9,train", "line 3: the box is inverted or of zero size"),
        ("a.nii.gz,P1,6,2,3,8,9,train", r"lies outside a\.nii\.gz, which has 20 x 16 .* 6 axial"),
        ("a.nii.gz,P1,4,20,3,25,9,train", "line 3: .* lies outside"),
        ("a.nii.gz,P1,4,2,-9,8,-1,train", "line 3: .* lies outside"),
        (GOOD, r"line 3: the same lesion as in .*line 2; keep one"),
        ("d.nii.gz,P1,4,2,3,8,9,train", r"line 3: no scan .*d\.nii\.gz"),
        ("a.nii.gz,P1,4,two,3,8,9,train", "line 3: x1 is a number, not 'two'"),
        ("a.nii.gz,P1,4,nan,3,8,9,train", "line 3: x1 is a number, not 'nan'"),
        ("a.nii.gz,P1,4,2,3,8", "line 3: y2 is empty"),
        ("a.nii.gz,P1,4,2,3,8,10,trian", "unknown split 'trian'; did you mean 'train'"),
        ("a.nii.gz,P2,4,2,3,8,10,train", "line 3: another patient, split or file than in earlier"),
        (
            "c.nii,P3,4,2,3,8,9,train",
            "line 3: z counts along the file's third axis, which does not",
        ),
    ],
)
def test_a_faulty_row_is_refused_or_left_out_and_told(bad, message, folder):
    path = table(folder, GOOD, bad)
    with pytest.raises(InputError, match=message) as told:
        read_lesion_boxes(folder, path)
    assert "\n" not in str(told.value)
    faults: list[str] = []
    found = read_lesion_boxes(folder, path, faults=faults)
    assert faults == [str(told.value)]
    assert len(found.slices) == 1 and found.slices[0].boxes.tolist() == [[2, 3, 8, 9]]


def test_a_missing_column_is_told_with_the_nearest(folder):
    path = table(folder, "a.nii.gz,4,2,3,8,9", header="file,z,x_1,y1,x2,y2")
    with pytest.raises(InputError, match="has no column 'x1'; did you mean 'x_1'"):
        read_lesion_boxes(folder, path)
    path = table(folder, "a.nii.gz,2,3,8,9", header="file,x1,y1,x2,y2")
    with pytest.raises(InputError, match="has no column 'z1'"):
        read_lesion_boxes(folder, path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "not readable as JSON"),
        ("a.json", "3", "expected a list of objects"),
        ("a.json", "[3]", "expected a list of objects"),
        ("a.json", "[]", "no lesion to use"),
        ("a.csv", HEADER, "no lesion to use"),
        ("a.csv", b"\xff\xfea", "not readable as CSV"),
        ("a.txt", "", r"a \.csv or \.json table, or a folder of label maps"),
        ("none.csv", None, "no such table of boxes or folder"),
    ],
)
def test_what_is_no_table_is_told(name, content, message, folder):
    if content is not None:
        content = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_lesion_boxes(folder, folder / name)


def test_boxes_on_a_dicom_series_lie_where_the_series_does(shared_data, tmp_path):
    series = shared_data / "dicom" / "mr_brain_flair_oblique"
    found = read_volume(series)
    corner = (found.affine @ torch.tensor([3.0, 20, 30, 1], dtype=torch.float64))[:3]
    other = (found.affine @ torch.tensor([3.0, 60, 50, 1], dtype=torch.float64))[:3]
    both = torch.stack([corner, other])
    (x1, y1, z1), (x2, y2, z2) = both.min(dim=0).values.tolist(), both.max(dim=0).values.tolist()
    mm = {"x1_mm": x1, "y1_mm": y1, "z1_mm": z1, "x2_mm": x2, "y2_mm": y2, "z2_mm": z2}
    voxel = {"x1": 30, "y1": 20, "x2": 50, "y2": 60, "z": 3}
    for row in (voxel, mm):
        path = tmp_path / "boxes.json"
        path.write_text(json.dumps([{"file": series.name, **row}]), encoding="utf-8")
        lesions = read_lesion_boxes(series.parent, path)
        if "z" in row:
            turned = to_grid(found).array[0].numpy()
            (key,) = lesions.slices
            assert key.name.startswith(f"{series.name}/")
            assert key.boxes[0, 2:].sub(key.boxes[0, :2]).tolist() == [20, 40]
            number = int(key.name[-3:])
            np.testing.assert_array_equal(lesions.read(key, 1, None)[0], turned[number])
            x, y = key.boxes[0, :2].int().tolist()
            cut = turned[number, y : y + 41, x : x + 21]
            stored = found.array[0, 3, 20:61, 30:51].numpy()
            assert sorted(cut.ravel()) == sorted(stored.ravel())
        else:  # oblique: the box in mm holds the drawn one
            (drawn,) = [one for one in lesions.slices if one.name == key.name]
            assert (drawn.boxes[0, :2] <= key.boxes[0, :2] + 1e-3).all()
            assert (drawn.boxes[0, 2:] >= key.boxes[0, 2:] - 1e-3).all()
