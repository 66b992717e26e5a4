import shutil

import pytest

from thirdaxis.cli.main import run

RATINGS = [[5, 4, 4, 5], [2, 1, None, 2]]


@pytest.fixture(scope="module")
def root(tmp_path_factory, make_lidc):
    place = tmp_path_factory.mktemp("lidc")
    make_lidc(place, "1.2.33333", "LIDC-IDRI-0001", RATINGS)
    return place


def test_prepare_lidc_tells_what_it_made_and_goes_on(root, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["prepare", "lidc", str(root), "-o", str(out), "--side", "58", "--rule", "median"]
    assert run(words) == 0
    told = capsys.readouterr()
    assert "2 nodules of 1 series (0 of them finished before)" in told.out
    assert "1 marks of nodules below 3 mm, 1 of other things" in told.out
    assert sorted(path.name for path in out.iterdir()) == [
        "images",
        "labels.csv",
        "masks",
        "series",
    ]
    assert run(words) == 0
    assert "(1 of them finished before)" in capsys.readouterr().out


def test_a_bad_series_ends_with_one_line_and_exit_code_1(root, tmp_path, capsys):
    shutil.copytree(root, tmp_path / "in")
    twin = tmp_path / "in" / "twin"
    shutil.copytree(next((tmp_path / "in").rglob("*.dcm")).parent, twin)
    for path in twin.glob("*.dcm"):
        path.write_bytes(path.read_bytes().replace(b"1.2.33333", b"1.2.44444"))
    out = tmp_path / "out"
    assert run(["prepare", "lidc", str(tmp_path / "in"), "-o", str(out), "--side", "58"]) == 1
    told = capsys.readouterr()
    assert told.err.startswith(f"error: {twin}: no XML file names this series, 1.2.44444")
    assert told.err.count("\n") == 1
    assert "2 nodules of 1 series" in told.out and "1 failed" in told.out
    assert (out / "labels.csv").read_text(encoding="utf-8").count("\n") == 3


def test_wrong_words_are_told(root, tmp_path, capsys):
    assert run(["prepare", "lidc", str(root), "--side", "20"]) == 2
    assert "58 voxels" in capsys.readouterr().err
    assert run(["prepare", "lidc", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert run(["prepare", "ldic", str(root)]) == 2
    assert "lidc" in capsys.readouterr().err


def test_prepare_phantoms_tells_what_it_drew(tmp_path, capsys):
    out = tmp_path / "set"
    words = ["prepare", "phantoms", str(out), "--series", "6", "--size", "64", "--seed", "1"]
    assert run(words) == 0
    told = capsys.readouterr().out.splitlines()
    count = (out / "DL_info.csv").read_text(encoding="utf-8").count("\n") - 1
    assert told[0] == f"{count} lesions in 6 series: {out / 'DL_info.csv'}"
    assert told[1].startswith("Synthetic: ")
    assert run(words) == 1
    assert f"error: {out}: exists already" in capsys.readouterr().err


def test_wrong_words_for_phantoms_are_told(tmp_path, capsys):
    for words, code, told in (
        (["--series", "2"], 2, "series=2"),
        (["--size", "100"], 2, "size=100"),
        (["--nodules", str(tmp_path)], 1, "labels.csv: no such table"),
    ):
        assert run(["prepare", "phantoms", str(tmp_path / "out"), *words]) == code
        assert told in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
