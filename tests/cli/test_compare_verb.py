import csv
import json

import pytest

from thirdaxis.cli.main import run


@pytest.fixture
def runs(tmp_path, finished_run):
    """Two starts on two shares of the patients, three seeds each."""
    for weights in ("pretrained_resnet3d18_v1c.safetensors", None):
        for fraction in (0.25, 1.0):
            for seed in range(3):
                told = {"fusion": "i3d", "weights": weights, "fraction": fraction, "seed": seed}
                mean = 0.5 + 0.3 * fraction + 0.1 * bool(weights) + 0.01 * seed
                cases = {f"case{n}": mean + 0.01 * n for n in range(6)}
                scores = {"mean": {"dice_mean": mean, "hd95_mm_mean": 120.5 + seed}}
                folder = tmp_path / "runs" / f"{bool(weights)}-{fraction}-{seed}"
                finished_run(folder, told, scores, cases)
    return tmp_path / "runs"


def test_the_table_fits_a_terminal(runs, capsys):
    for words in ([], ["--curve", "fraction"], ["--score", "hd95_mm_mean", "--welch"]):
        assert run(["compare", str(runs), *words]) == 0
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= 80
        if not words:
            assert "dice_mean of 12 runs (segment), by weights, fraction" in shown
            assert "0.810 ± 0.010" in shown and "0.885–0.935" in shown
            assert "fraction 1" in shown and "t-test of independent samples" in shown
            assert shown.count("ref") >= 1 and "-0.100" in shown and "<0.001" in shown
        if "--welch" in words:
            assert "Welch's t-test" in shown and "121.5 ± 1.0" in shown


@pytest.mark.parametrize("words", [[], ["--curve", "fraction"]])
def test_files_hold_every_number(runs, tmp_path, words, capsys):
    out = tmp_path / "made" / "out"
    assert run(["compare", str(runs), *words, "--against", "none", "-o", str(out)]) == (
        0 if words else 2
    )
    if not words:
        assert "'none' is in several groups" in capsys.readouterr().err
        assert not out.exists()
        return
    names = {"comparison.csv", "comparison.json", "comparison.md", "comparison.png"}
    assert {path.name for path in out.iterdir()} == names
    told = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert (told["score"], told["curve"], told["by"]) == ("dice_mean", "fraction", ["weights"])
    first = told["groups"][0]
    assert first["group"].startswith("pretrained") or first["setting weights"] is None
    assert [one["seed"] for one in first["runs"]] == [0, 1, 2]
    with (out / "comparison.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4 and {row["setting fraction"] for row in rows} == {"0.25", "1"}
    tested = [row for row in rows if row["against"]]
    assert [row["cases_count"] for row in tested] == ["6", "6"]
    assert all(float(row["cases_difference"]) == pytest.approx(0.1) for row in tested)
    text = (out / "comparison.md").read_text(encoding="utf-8")
    assert text.startswith("# dice_mean of 12 runs") and "| ref |" in text and "+0.100 (6)" in text
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--score", "dise_mean"], 2, "--score: the runs have no 'dise_mean'; did you mean 'dice"),
        (["--by", "fusoin"], 2, "--by: unknown setting 'fusoin'; did you mean 'fusion'"),
        (["--against", "pretrined"], 2, "--against: no group 'pretrined'"),
        (["--curve", "epochs"], 1, "--curve: all runs have epochs 50"),
        (["gone"], 1, "gone: no such folder"),
    ],
)
def test_faults_are_one_line(runs, words, code, said, capsys):
    assert run(["compare", str(runs), *words]) == code
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_a_damaged_table_of_cases_is_named(runs, capsys):
    path = runs / "True-1.0-0" / "validation" / "scores.csv"
    path.write_text("case,dice\na,0.5\n", encoding="utf-8")
    assert run(["compare", str(runs)]) == 1
    assert f"{path}: not the scores of a run's scans" in capsys.readouterr().err
