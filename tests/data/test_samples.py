from pathlib import Path

import pytest

from thirdaxis.data.samples import Columns, mapped, plain_label, read_samples
from thirdaxis.errors import InputError, UsageError

TABLE = """file,who,kind,x,y,z,part
a.nii.gz,p1,3,1,2,3,train
b.nii.gz,p1,4.0,1.5,-2,0,val
a.nii.gz,p2, 5 ,0,0,0,test
"""
COLUMNS = Columns(labels=("kind",), patient="who", mask="file", centre=("x", "y", "z"), part="part")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("a.nii.gz", "b.nii.gz"):
            (tmp_path / folder / name).touch()
    (tmp_path / "table.csv").write_text(TABLE, encoding="utf-8")
    return tmp_path / "table.csv"


def read(table: Path, columns: Columns = COLUMNS, **told: object):
    return read_samples(table, columns, images="images", masks="masks", **told)


def test_rows_become_samples(table):
    first, second, third = read(table)
    assert [first.name, second.name, third.name] == ["a-1", "b", "a-2"]
    assert first.file == table.parent / "images" / "a.nii.gz"
    assert first.mask == table.parent / "masks" / "a.nii.gz"
    assert second.centre == (1.5, -2, 0) and second.labels == ("4",) and third.labels == ("5",)
    assert [one.patient for one in (first, second, third)] == ["p1", "p1", "p2"]
    assert [one.part for one in (first, second, third)] == ["training", "validation", "test"]


def test_labels_are_dropped_and_mapped(table):
    kept = read(table, drop=["3.0"])
    assert [one.name for one in kept] == ["b", "a"]
    assert [one.labels for one in mapped(kept, {"4": "1", 5: "1"})] == [("1",), ("1",)]
    with pytest.raises(UsageError, match=r"'5' is not in the mapping, which has 4"):
        mapped(kept, {"4": "1"})
    with pytest.raises(InputError, match="no samples are left of 3 rows"):
        read(table, drop=[3, 4, 5])


def test_without_labels_and_patients(table):
    only = Columns(labels=("kind",))
    found = read(table, only, labelled=False)
    assert all(one.labels == () and one.centre is None and one.mask is None for one in found)
    assert found[0].patient == found[2].patient != found[1].patient


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("file,who", "file,hwo", r"no column 'who'; did you mean 'hwo'"),
        ("a.nii.gz,p1", "c.nii.gz,p1", r"line 2: .*c.nii.gz: no such file"),
        ("p1,3,1", "p1,,1", r"line 2: the cell 'kind' is empty"),
        ("1,2,3,train", "1,b,3,train", r"line 2: y is 'b', expected a number"),
        ("1,2,3,train", "1,nan,3,train", r"y is 'nan'"),
        ("3,train", "3,dev", r"the part 'dev' is none of train,"),
    ],
)
def test_a_table_with_a_fault_is_refused(table, old, new, message):
    table.write_text(TABLE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read(table)


def test_what_is_no_table_is_refused(table, tmp_path):
    with pytest.raises(InputError, match="no such table"):
        read(tmp_path / "none.csv")
    table.write_text("file\n", encoding="utf-8")
    with pytest.raises(InputError, match="no rows"):
        read(table)
    table.write_bytes(b"file,who\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="UTF-8"):
        read(table)


def test_spacings_are_positive(table):
    columns = Columns(labels=("kind",), spacing=("x", "y", "z"))
    table.write_text(TABLE.replace("1.5,-2", "1.5,2"), encoding="utf-8")
    with pytest.raises(InputError, match="line 3: z is '0', expected a positive number"):
        read(table, columns)


def test_numbers_written_otherwise_are_one_label():
    assert plain_label(3) == plain_label("3.0") == plain_label(" 3 ") == "3"
    assert plain_label("2.5") == "2.5" and plain_label(" malignant") == "malignant"


def test_the_nodules_are_read(shared_data):
    columns = Columns(labels=("malignancy",), patient="patient_id", mask="file")
    rows = read_samples(
        shared_data / "lidc_nodules" / "labels.csv",
        columns,
        images="images",
        masks="masks",
        drop=["3"],
    )
    rows = mapped(rows, {"1": "0", "2": "0", "4": "1", "5": "1"})
    counts = [sum(one.labels == (label,) for one in rows) for label in ("0", "1")]
    assert counts == [307, 216] and len({one.name for one in rows}) == len(rows) == 523
    assert len({one.patient for one in rows}) == 335
