import csv
import json

import pytest
import torch

from thirdaxis.cli.main import run as command
from thirdaxis.data.lesions.deeplesion import read_deeplesion
from thirdaxis.data.lesions.detections import read_detections
from thirdaxis.metrics.froc import froc
from thirdaxis.tasks import runs
from thirdaxis.tasks.detection.cases import slices_of
from thirdaxis.tasks.detection.key_slices import detect_slices
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.model import load_model
from thirdaxis.tasks.settings_files import make_settings


@pytest.fixture(scope="module")
def told(tmp_path_factory, make_deeplesion, small_detector):
    data = make_deeplesion(tmp_path_factory.mktemp("lesions") / "data")
    return small_detector | {"data": str(data)}


@pytest.fixture(scope="module")
def run(told, tmp_path_factory):
    """A finished run, to be read and not changed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    runs.train(make_settings(told, "test"), out)
    return out


def test_a_run_leaves_what_it_was_and_what_it_found(run):
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert files >= {
        *("settings.yaml", "plan.json", "split.json", "versions.json", "conversion.txt"),
        *("weights.txt", "metrics.csv", "metrics.json", "curves.png", "detections.json"),
        *("scores.json", "scores.csv", "scores.html", "pictures/froc.png", "last.ckpt"),
        *("best.ckpt", "report.html", "model/model.safetensors"),
    }
    assert "TSM()" in (run / "conversion.txt").read_text(encoding="utf-8")
    split = json.loads((run / "split.json").read_text(encoding="utf-8"))
    assert [len(split[part]) for part in ("training", "validation", "test")] == [6, 2, 2]
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["steps"] == 4 and metrics["test_lesions"] == 2
    with (run / "metrics.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert max(float(row["val_froc"]) for row in rows) == metrics["validation_froc"]
    assert metrics["scores"].keys() >= {"sensitivity_16", "thin_froc", "thick_sensitivity_0.5"}
    assert metrics["intervals"].keys() == metrics["scores"].keys()
    low, high = metrics["intervals"]["froc"]
    assert 0 <= low <= metrics["scores"]["froc"] <= high <= 1


def test_the_detections_are_those_of_the_best_network_and_score_as_told(run, told):
    lesions = read_deeplesion(told["data"])
    model = load_model(run / "model", task="detect")
    assert model.plan.plain()["patch"] == [3, 64, 64]
    best = read_checkpoint(run / "best.ckpt")["state_dict"]
    state = model.net.state_dict()
    assert all(torch.equal(value, best[f"net.{name}"]) for name, value in state.items())
    names = json.loads((run / "split.json").read_text(encoding="utf-8"))["test"]
    slices = slices_of(lesions, names, model.settings, model.plan)
    again = detect_slices(model.net, slices, batch=2)
    written = read_detections(run / "detections.json")
    assert list(written) == names
    for name, (boxes, scores) in again.items():
        torch.testing.assert_close(written[name].boxes, boxes, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(written[name].scores, scores, atol=1e-4, rtol=1e-3)
    truth = {one.name: one.boxes for one in slices.slices}
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert froc(written, truth).mean == pytest.approx(metrics["scores"]["froc"])


def test_a_broken_run_goes_on_to_the_same_end(run, told, tmp_path):
    def say(line):
        if line.startswith("epoch 2/"):
            raise KeyboardInterrupt

    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        runs.train(make_settings(told, "test"), broken, Display(say=say))
    assert read_checkpoint(broken / "last.ckpt")["epoch"] == 0
    runs.resume(broken)
    for name in ("last.ckpt", "best.ckpt"):
        one, other = (read_checkpoint(folder / name) for folder in (run, broken))
        assert one["epoch"] == other["epoch"] and one["global_step"] == other["global_step"]
        for key, value in one["state_dict"].items():
            assert torch.equal(value, other["state_dict"][key]), key
    ends = [json.loads((folder / "metrics.json").read_text()) for folder in (run, broken)]
    assert ends[0]["scores"] == ends[1]["scores"]


def test_another_form_of_run(run, told, tmp_path):
    """Reversed slices, no outlines, mixed precision, averaged weights, a start from another run."""
    values = {"precision": "bf16-mixed", "ema": 0.5, "accumulate": 2, "masks": False}
    values |= {"epochs": 1, "epoch_steps": 1, "weights": str(run), "official": False, "folds": 2}
    values |= {"augment": "reversal", "depth": 5, "fusion": "acs"}
    out = tmp_path / "other"
    metrics = runs.train(make_settings({**told, **values}, "test"), out)
    assert metrics["steps"] == 1 and metrics["test_slices"] == 5
    assert "best.ckpt" in (out / "weights.txt").read_text(encoding="utf-8")
    state = load_model(out).net.state_dict()
    assert not any("mask" in name for name in state)
    assert all(value.isfinite().all() for value in state.values())
    assert (runs.report(out)).is_file()


def test_the_command_knows_a_folder_of_lesions(told, tmp_path, capsys):
    words = ["--set", "network=timm:test_resnet", "--set", "accelerator=cpu"]
    out = ["--window", "-1000,1000", "-o", str(tmp_path / "run")]
    assert command(["train", told["data"], *words, *out, "--set", "depth=2"]) == 2
    assert "depth 2 is even; take an odd number of slices" in capsys.readouterr().err
    assert command(["train", told["data"], *words, *out, "--set", "fusion=tsn"]) == 2
    assert "unknown fusion 'tsn'; did you mean 'tsm'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_recipe_says_what_it_needs(repository, tmp_path, capsys):
    recipe = str(repository / "recipes" / "deeplesion" / "acs.yaml")
    row = ["--row", "ACS p. x3", "-o", str(tmp_path / "run")]
    assert command(["train", recipe, *row, "--set", f"data={tmp_path / 'none'}"]) == 1
    told = capsys.readouterr().err
    assert "there are no data at" in told and "DL_info.csv beside Images_png/PATIENT" in told
    assert told.count("\n") == 1 and not (tmp_path / "run").exists()
