import json
import zipfile

import pytest

from thirdaxis.cli.main import run


def test_a_run_becomes_one_file_with_the_licence_it_is_given(phantom_run, tmp_path, capsys):
    out = tmp_path / "deep" / "model.zip"
    words = ["pack", str(phantom_run), "--out", str(out), "--licence", "cc-by-4.0"]
    assert run(words) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    with zipfile.ZipFile(out) as archive:
        assert sorted(archive.namelist()) == ["README.md", "config.json", "model.safetensors"]
        config = json.loads(archive.read("config.json"))
        card = archive.read("README.md").decode()
    assert config["provenance"]["licence"] == "cc-by-4.0" and "license: cc-by-4.0" in card
    kept = json.loads((phantom_run / "model" / "config.json").read_text(encoding="utf-8"))
    assert "licence" not in kept["provenance"]


def test_packing_again_changes_nothing(phantom_run, tmp_path):
    for source, out in ((phantom_run, "a"), (tmp_path / "a", "b"), (tmp_path / "b", "a")):
        assert run(["pack", str(source), "--as", "hub", "--out", str(tmp_path / out)]) == 0
    for path in (tmp_path / "a").iterdir():
        kept = phantom_run / "model" / path.name
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes() == kept.read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ([], 2, "name one place for the model"),
        (["--out", "model", "--push", "hf://jane/kidney"], 2, "name one place for the model"),
        (["--out", "occupied"], 2, "occupied holds other files; choose another folder"),
        (["--out", "occupied/thesis.txt"], 2, "thesis.txt is a file; expected a folder"),
        (["--out", "model", "--as", "pickle"], 2, "--as"),
    ],
)
def test_wrong_words_end_in_one_line(phantom_run, tmp_path, monkeypatch, capsys, words, code, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "thesis.txt").write_text("years of work")
    assert run(["pack", str(phantom_run), *words]) == code
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["occupied"]
    assert (tmp_path / "occupied" / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_what_is_no_model_is_not_packed(tmp_path, capsys):
    assert run(["pack", str(tmp_path / "none"), "--out", str(tmp_path / "model")]) == 1
    assert "no such folder or file; expected a trained model or a run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
