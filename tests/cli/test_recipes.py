import json

import pytest
import yaml

from thirdaxis.cli.main import run


@pytest.fixture
def recipe(tmp_path, phantom_settings):
    told = {
        "about": {"paper": "A paper", "table": "Table 1", "data": "phantoms", "source": "nowhere"},
        **phantom_settings,
        "epochs": 1,
        "rows": {
            "ACS r.": {"published": {"dice_global": 76.5}},
            "2.5D r.": {"fusion": "slicewise"},
        },
    }
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    return path


def test_a_row_is_run_and_told_beside_what_was_published(recipe, make_phantoms, capsys):
    data = make_phantoms(recipe.parent / "data", 6)
    out = recipe.parent / "run"
    row = ["--row", "acs r."]
    assert run(["train", str(recipe), *row, "--set", f"data={data}", "-o", str(out)]) == 0
    assert "published: ACS r.: dice_global 76.5 (A paper, Table 1)" in capsys.readouterr().out
    kept = yaml.safe_load((out / "settings.yaml").read_text(encoding="utf-8"))
    assert kept["about"]["row"] == "ACS r." and kept["about"]["published"] == {"dice_global": 76.5}
    assert kept["fusion"] == "acs" and "rows" not in kept
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8"))["epochs"] == 1
    told = ["train", str(recipe), *row, "--resume", "-o", str(out)]
    assert run(told) == 0
    assert run([*told[:3], "2.5D r.", *told[4:]]) == 2
    assert "--resume keeps the run's settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "has rows, choose one by --row: 2.5D r., ACS r."),
        (["--row", "ACS p."], 2, "unknown row 'ACS p.'; did you mean 'acs r.'"),
        (["--row", "ACS r."], 1, "no data are told; name them by --set data=PATH. It needs phan"),
        (["--row", "ACS r.", "--set", "data=/none"], 1, "there are no data at /none; name them"),
        (["--row", "ACS r.", "--set", "epoch=3"], 2, "unknown setting 'epoch'; did you mean"),
        (["--row", "ACS r.", "--set", "epochs=3.5", "--set", "data=x"], 2, "setting 'epochs'"),
        (["--row", "ACS r.", "--dry-run", "--set", "fusion=asc"], 2, "unknown fusion 'asc'"),
    ],
)
def test_what_a_recipe_cannot_do_is_one_line(recipe, words, code, said, capsys):
    assert run(["train", str(recipe), *words, "-o", str(recipe.parent / "run")]) == code
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
    assert not (recipe.parent / "run").exists()


def test_a_dry_run_needs_nothing_and_leaves_nothing(recipe, capsys, monkeypatch):
    monkeypatch.chdir(recipe.parent)
    assert run(["train", str(recipe), "--row", "2.5D r.", "--dry-run", "--set", "epochs=7"]) == 0
    told = capsys.readouterr()
    assert "epochs: 7\n" in told.out and "fusion: slicewise\n" in told.out
    assert "network: unet by slicewise: 0.39 M parameters" in told.out
    assert "one step on stand-ins of 8×8×8" in told.out
    assert told.err == ""
    assert [path.name for path in recipe.parent.iterdir()] == ["table.yaml"]
