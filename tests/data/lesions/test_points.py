"""Points as tables: what is written is read back, in voxels and in millimetres of both kinds."""

import csv
import io

import numpy as np
import pytest
import torch

from thirdaxis.data.lesions.axial import AxialGrid
from thirdaxis.data.lesions.points import (
    Points,
    is_points,
    point_rows,
    points_csv,
    points_json,
    read_points,
)
from thirdaxis.data.lesions.volumes import BoxedVolume
from thirdaxis.errors import InputError

AFFINE = torch.tensor(
    [[0.0, 0.0, -0.7, 40.0], [0.0, 1.2, 0.0, -8.0], [-2.5, 0.0, 0.0, 90.0], [0, 0, 0, 1]],
    dtype=torch.float64,
)
"""(d, h, w) of the file to RAS mm: d downwards, h to the front, w to the left."""
SHAPE = (6, 9, 11)


@pytest.fixture
def grid():
    return AxialGrid.at(SHAPE, AFFINE)


@pytest.fixture
def scan(tmp_path, grid):
    return BoxedVolume("scans/one", tmp_path / "one.nii.gz", "p", grid, np.zeros((0, 6)))


def test_a_row_tells_one_place_in_voxels_and_in_both_kinds_of_millimetres(grid):
    # The third voxel along x, the fifth along y, the second along z of the file.
    d, h, w = SHAPE[0] - 1 - 1, SHAPE[1] - 1 - 4, 2
    box = [d - 1, h - 2, w - 0.5, d + 0.5, h + 1, w + 3]
    (row,) = point_rows(
        "one", Points(np.array([[d, h, w]]), np.array([0.25]), np.array([box])), grid
    )
    assert [row[axis] for axis in "xyz"] == [2, 4, 1]
    ras = (AFFINE @ torch.tensor([1.0, 4.0, 2.0, 1.0], dtype=torch.float64)).tolist()[:3]
    assert [row[f"{axis}_mm"] for axis in "xyz"] == pytest.approx(ras)
    assert [row[f"{axis}_lps_mm"] for axis in "xyz"] == pytest.approx([-ras[0], -ras[1], ras[2]])
    assert [row[end] for end in ("x1", "y1", "z1", "x2", "y2", "z2")] == [1.5, 3, 0.5, 5, 6, 2]
    sides = [row[f"{axis}2_mm"] - row[f"{axis}1_mm"] for axis in "xyz"]
    assert sides == pytest.approx([3.5 * 0.7, 3 * 1.2, 1.5 * 2.5])


@pytest.mark.parametrize("kept", ["", "_mm", "_lps_mm"])
@pytest.mark.parametrize("file", ["scans/one", "one", "one.nii.gz", "elsewhere/one.nii.gz"])
def test_points_come_back_from_any_columns_and_names(tmp_path, grid, scan, kept, file):
    found = Points(np.array([[1.0, 3.0, 7.0], [4.0, 0.0, 10.0]]), np.array([0.3, 0.9]))
    names = ["file", "score", *(f"{axis}{kept}" for axis in "xyz")]
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(point_rows(file, found, grid))
    path = tmp_path / "points.csv"
    path.write_text(out.getvalue(), encoding="utf-8")
    assert is_points(path)
    read, dropped = read_points(path, [scan])
    assert dropped == 0
    np.testing.assert_allclose(read["scans/one"].places, found.places[::-1], atol=1e-3)
    assert read["scans/one"].scores.tolist() == [0.9, 0.3]


def test_json_holds_the_same(tmp_path, grid, scan):
    found = Points(np.array([[1.0, 3.0, 7.0]]), np.array([-0.3]))
    path = tmp_path / "points.json"
    path.write_text(points_json(point_rows("one", found, grid), ["one"], {}), encoding="utf-8")
    assert is_points(path)
    (read,) = read_points(path, [scan])[0].values()
    np.testing.assert_allclose(read.places, found.places, atol=1e-6)
    path.write_text(points_json([], ["one"], {}), encoding="utf-8")
    assert read_points(path, [scan]) == ({}, 0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("two,0.5,1,1,1", "no volume 'two' is to be searched; they are called like 'scans/one'"),
        ("one,0.5,11,1,1", "the point 11, 1, 1 lies outside one.nii.gz"),
        ("one,0.5,1,-0.6,1", "lies outside"),
        ("one,,1,1,1", "line 2: score is empty"),
        ("one,nan,1,1,1", "score is a number, not 'nan'"),
        ("one,0.5,1,x,1", "y is a number"),
    ],
)
def test_points_that_cannot_be(tmp_path, scan, line, said):
    path = tmp_path / "points.csv"
    path.write_text(f"file,score,x,y,z\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_points(path, [scan])


def test_points_elsewhere_are_dropped_where_that_is_asked_for(tmp_path, scan):
    path = tmp_path / "points.csv"
    path.write_text("file,score,x,y,z\none,0.5,1,1,1\ntwo,1,1,1,1\n", encoding="utf-8")
    found, dropped = read_points(path, [scan], others="drop")
    assert (list(found), dropped) == (["scans/one"], 1)
    path.write_text("file,score,x,y,z\ntwo,1,1,1,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="all of its 1 points"):
        read_points(path, [scan], others="drop")


def test_other_tables_are_no_points(tmp_path):
    (tmp_path / "classes.csv").write_text("scan,benign,malignant\n", encoding="utf-8")
    (tmp_path / "boxes.json").write_text('{"format": "thirdaxis-detections"}', encoding="utf-8")
    assert not is_points(tmp_path / "classes.csv")
    assert not is_points(tmp_path / "boxes.json")
    assert not is_points(tmp_path / "none.csv")


def test_a_table_of_points_is_a_table_of_boxes_too():
    assert points_csv([]).startswith("file,point,score,x,y,z,x_mm,")
