"""`thirdaxis train` in stages: what is told before anything is trained, and on the way."""

import pytest
import yaml

from thirdaxis.cli.main import run
from thirdaxis.tasks.segmentation import run as segment_run

STAGES = {
    "slices": {"fusion": "slicewise", "patch": [1, 16, 16], "epochs": 1},
    "volumes": {"fusion": "acs", "patch": [4, 16, 16], "epochs": 1, "freeze": ["enc1"]},
}


@pytest.fixture
def told(tmp_path, monkeypatch, make_phantoms, phantom_settings):
    """Words of a command that trains two stages, and the folder they go to."""

    def finish(run, say):
        (run.folder / "metrics.json").write_text("{}", encoding="utf-8")
        return {}

    monkeypatch.setattr(segment_run, "finish", finish)
    data = make_phantoms(tmp_path / "data", 4)
    file = tmp_path / "both.yaml"
    common = {name: phantom_settings[name] for name in ("network", "batch", "overlap")}
    common |= {"epoch_steps": 1, "folds": 2, "accelerator": "cpu", "stages": STAGES}
    file.write_text(yaml.safe_dump(common, sort_keys=False), encoding="utf-8")
    return ["train", str(data), "--settings", str(file)], tmp_path / "out"


def test_one_command_trains_both_and_resumes_neither_when_done(told, capsys):
    words, out = told
    assert run([*words, "-o", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("stage")] == [
        f"stage 1 of 2: {out / 'slices'}",
        f"stage 2 of 2: {out / 'volumes'}",
    ]
    for more in ([], words[1:]):  # the same words again change nothing
        assert run(["train", *more, "--resume", "-o", str(out)]) == 0
        assert capsys.readouterr().out == ""
    for more in (["--epochs", "2"], [*words[1:], "--set", "stages.volumes.epochs=2"]):
        assert run(["train", *more, "--resume", "-o", str(out)]) == 2
        assert "--resume keeps the settings in" in capsys.readouterr().err
    assert run([*words, "-o", str(out)]) == 2
    assert "exists already (--resume goes on with it)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--epochs", "2"], "epochs: each stage of "),
        (["--set", "stages.volumes.freeze=[enc9]"], "no part of the network is called 'enc9'"),
        (["--set", "stages.volumes.fusion=i3d"], "take a fusion that keeps 2D kernels"),
        (["--set", "stages.volumes.epoch=2"], "stages.volumes: unknown setting 'epoch'"),
        (["--set", "stages.volumes=3"], "stages are a table of name -> table of settings"),
    ],
)
def test_faults_of_any_stage_are_told_before_the_first(told, more, said, capsys):
    words, out = told
    assert run([*words, *more, "-o", str(out)]) in (1, 2)
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_dry_run_tells_of_each_stage(told, capsys):
    words, out = told
    assert run([*words, "--dry-run", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.count("one step on stand-ins of") == 2 and not out.exists()
    assert f"weights: {out / 'slices'} not loaded; a random start stands in" in said
