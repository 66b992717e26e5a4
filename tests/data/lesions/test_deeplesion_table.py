import re

import numpy as np
import pytest

from thirdaxis.data.lesions.deeplesion_table import read_lesion_table, row_faults
from thirdaxis.errors import InputError

HEADER = (
    "File_name,Patient_index,Measurement_coordinates,Bounding_boxes,Coarse_lesion_type,"
    "Possibly_noisy,Spacing_mm_px_,Image_size,Train_Val_Test"
)


def row(
    file="000001_01_01_010.png",
    recist="10, 11, 20, 21, 12, 20, 18, 12",
    box="5, 6, 25, 26",
    kind="3",
    noisy="0",
    spacing="0.5, 0.5, 5",
    size="64, 64",
    split="1",
):
    return f'{file},1,"{recist}","{box}",{kind},{noisy},"{spacing}","{size}",{split}'


@pytest.fixture
def read(tmp_path):
    def write_and_read(*rows, header=HEADER):
        path = tmp_path / "DL_info.csv"
        path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
        return read_lesion_table(path)

    return write_and_read


def test_the_published_test_rows_are_those_that_pandas_reads(shared_data):
    pandas = pytest.importorskip("pandas")
    path = shared_data / "deeplesion" / "DL_info_test_split.csv"
    told, found = pandas.read_csv(path), read_lesion_table(path)
    assert len(found.lines) == len(told) == 4927
    assert found.lines.tolist() == list(range(2, 4929))
    assert found.files.tolist() == told.File_name.tolist()

    def numbers(column):
        return told[column].str.split(",", expand=True).astype(float).to_numpy()

    np.testing.assert_allclose(found.boxes + 1, numbers("Bounding_boxes"))
    np.testing.assert_allclose(found.recists + 1, numbers("Measurement_coordinates"))
    np.testing.assert_array_equal(found.spacing, numbers("Spacing_mm_px_"))
    np.testing.assert_array_equal(found.sizes, numbers("Image_size"))
    np.testing.assert_array_equal(found.noisy, told.Possibly_noisy > 0)
    assert found.noisy.sum() == 15 and set(found.splits) == {3}
    counts = dict(zip(*np.unique(found.kinds, return_counts=True), strict=True))
    assert counts == told.Coarse_lesion_type.value_counts().to_dict()
    assert counts == {1: 108, 2: 1173, 3: 864, 4: 700, 5: 1100, 6: 234, 7: 339, 8: 409}
    thickness = found.spacing[:, 2]
    assert (thickness <= 2).sum() == 2442 and (thickness == 5).sum() == 2469
    assert list(row_faults(found)) == []


def test_boxes_of_the_published_rows_are_the_diameters_extent_and_5_pixels_more(shared_data):
    found = read_lesion_table(shared_data / "deeplesion" / "DL_info_test_split.csv")
    np.testing.assert_allclose(found.boxes[0], [225.169, 89.0204, 240.252, 110.977])
    ends = found.recists.reshape(-1, 4, 2)
    extent = np.concatenate([ends.min(axis=1) - 5, ends.max(axis=1) + 5], axis=1)
    np.testing.assert_allclose(found.boxes, extent, atol=6e-4)


def test_unknown_intervals_and_ages_are_read(read):
    found = read(row(spacing="0.5, 0.5, NaN"), row(box="6, 6, 25, 26", spacing="0.5, 0.5, nan"))
    assert np.isnan(found.spacing[:, 2]).all() and list(row_faults(found)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box": "25, 6, 5, 26"}, r"inverted or of zero size, 25, 6, 5, 26 \(from 1\)"),
        ({"box": "5, 26, 25, 6"}, "inverted or of zero size"),
        ({"box": "5, 6, 5, 26"}, "inverted or of zero size"),
        ({"box": "64, 6, 70, 26"}, r"64, 6, 70, 26 \(from 1\) lies outside its image of 64 x 64"),
        ({"box": "-9, 6, 1, 26"}, "lies outside its image"),
        ({"box": "5, 70, 25, 90"}, "lies outside its image"),
        ({"box": "5, 6, nan, 26"}, "not a finite number"),
        ({"recist": "10, 11, 20, 21, inf, 20, 18, 12"}, "not a finite number"),
        ({"spacing": "0, 0.5, 5"}, "pixel spacing is a positive length in mm, not 0, 0.5, 5"),
        ({"spacing": "0.5, -0.5, 5"}, "pixel spacing"),
        ({"size": "64, 0"}, "Image_size is a width and a height"),
        ({"split": "4"}, "Train_Val_Test is 1, 2 or 3, not 4"),
        ({"kind": "9"}, "Coarse_lesion_type"),
        ({"file": "000001_01_010.png"}, "File_name is PATIENT_STUDY_SERIES_SLICE.png, not"),
        ({"file": "../../x_01_01_010.png"}, "File_name is"),
    ],
)
def test_a_faulty_row_is_told(changes, message, read):
    found = read(row(file="000001_01_01_009.png"), row(**changes))
    told = list(row_faults(found))
    assert {index for index, _ in told} == {1}
    assert re.search(message, told[0][1])


@pytest.mark.parametrize("changes", [{"spacing": "0.5, 0.5, 1"}, {"size": "64, 65"}, {"split": 2}])
def test_rows_of_one_slice_agree_about_it(changes, read):
    found = read(row(), row(file="000001_01_01_011.png"), row(box="1, 2, 3, 4", **changes))
    assert [(index, text[:13]) for index, text in row_faults(found)] == [(2, "another spaci")]


def test_diameters_may_be_unmeasured_but_not_in_part(read):
    nan = ", ".join(["nan"] * 8)
    assert list(row_faults(read(row(recist=nan)))) == []
    assert len(list(row_faults(read(row(recist=f"5, {nan[5:]}"))))) == 1


def test_a_lesion_twice_is_told_and_two_lesions_of_a_slice_are_not(read):
    found = read(row(), row(box="1, 2, 3, 4"), row(), row(file="000001_01_01_011.png"))
    assert list(row_faults(found)) == [(2, "the same lesion as in line 2; keep one of them")]


def test_boxes_over_the_border_are_as_published(read):
    assert list(row_faults(read(row(box="-3, -2, 66.5, 70")))) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box": "5, 6, 25"}, "line 2: Bounding_boxes is 4 numbers with commas between, not"),
        ({"recist": "a, b"}, "line 2: Measurement_coordinates is 8 numbers"),
        ({"noisy": "no"}, "line 2: Possibly_noisy is a number, not 'no'"),
        ({"split": ""}, "line 2: Train_Val_Test is a number, not ''"),
        ({"kind": "3,4"}, "line 2: 10 cells, the header has 9"),
    ],
)
def test_an_unreadable_cell_is_told_with_its_line(changes, message, read):
    with pytest.raises(InputError, match=message):
        read(row(**changes), row(box="1, 2, 3, 4"))


def test_a_missing_column_is_told_with_the_nearest(read):
    with pytest.raises(InputError, match="no column 'Bounding_boxes'; did you mean 'Bounding_box'"):
        read(row(), header=HEADER.replace("Bounding_boxes", "Bounding_box"))


def test_what_is_no_table_is_told(tmp_path):
    with pytest.raises(InputError, match="no such table of lesions"):
        read_lesion_table(tmp_path / "DL_info.csv")
    (tmp_path / "DL_info.csv").write_bytes(b"\xff\xfe\x00File_name")
    with pytest.raises(InputError, match="not readable as CSV in UTF-8"):
        read_lesion_table(tmp_path / "DL_info.csv")
    (tmp_path / "DL_info.csv").write_bytes(b"")
    with pytest.raises(InputError, match="no column 'File_name'"):
        read_lesion_table(tmp_path / "DL_info.csv")


def test_an_empty_table_has_no_rows(read):
    found = read()
    assert len(found.lines) == 0 and list(row_faults(found)) == []
