import pytest

from thirdaxis.cli.main import run

TINY = """
experiment = "shapes"
data = { images = 8, test_images = 2, volumes = 1, test_volumes = 1 }
pretraining = { optimiser = "sgd", learning_rate = 0.1, batch = 4, test_batch = 2, epochs = 1 }
training = { optimiser = "adam", learning_rate = 0.001, batch = 1, test_batch = 1, epochs = 1 }
rows = [
  { name = "ACS p.", fusion = "acs", start = "pretrained" },
  { name = "2.5D r.", fusion = "slicewise", start = "default" },
]
"""


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "tiny.toml"
    file.write_text(TINY, encoding="utf-8")
    return file


def test_the_verb_runs_a_recipe_and_shows_the_table(tmp_path, recipe, capsys):
    out = tmp_path / "out"
    words = ["run", str(recipe.with_suffix("")), "--out", str(out)]
    assert run([*words, "--rows", "2.5d r.", "--seeds", "1", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "2.5D r., seed 1" in told and "| 2.5D r. | 389,286 |" in told
    assert str(out / "table.md") in told and "pretrain" not in told
    (out / "table.md").unlink()
    assert run([*words, "--report-only"]) == 0
    assert capsys.readouterr().out.count("\n") == told[told.index("| network") :].count("\n")
    assert (out / "table.md").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rows", "asc p."], "did you mean 'acs p.'"),
        (["--seeds", "one"], "--seeds"),
        (["--seeds", "-1"], "--seeds"),
        (["--device", "tpu"], "device"),
        (["--precision", "8"], "precision"),
    ],
)
def test_wrong_words_are_told_in_one_line(tmp_path, recipe, capsys, words, told):
    assert run(["run", str(recipe), "--out", str(tmp_path / "out"), *words]) == 2
    line = capsys.readouterr().err
    assert told in line and line.count("\n") == 1


def test_a_bad_recipe_is_told_in_one_line(tmp_path, recipe, capsys):
    recipe.write_text(TINY.replace('"slicewise"', '"slicewize"'), encoding="utf-8")
    assert run(["run", str(recipe), "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert "did you mean 'slicewise'" in line and line.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert run(["run", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
