import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks import runs
from thirdaxis.tasks.keep import KeepRun, read_checkpoint
from thirdaxis.tasks.settings_files import make_settings


@pytest.fixture(scope="module")
def run(tmp_path_factory, pretrain_values):
    """A finished run with a moving average, to be read and not changed."""
    out = tmp_path_factory.mktemp("pretrained") / "run"
    runs.train(make_settings(pretrain_values | {"ema": 0.5}, "test"), out)
    return out


def test_a_run_ends_in_the_weights_of_its_best_epoch_and_their_scores(run):
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["steps"] == 6 and metrics["training_pictures"] == 24
    assert metrics["held_out_pictures"] == 15 and metrics["damaged"] == {}
    rows = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    best = max(float(row.split(",")[4]) for row in rows[1:])
    assert metrics["scores"]["top-1"] == pytest.approx(best) and "top-5" not in metrics["scores"]
    weights = load_file(run / "pretrained.safetensors")
    kept = read_checkpoint(run / "best.ckpt")["state_dict"]
    assert all(torch.equal(value, kept[f"net.{name}"]) for name, value in weights.items())
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "24 training and 15 held-out" in page and "top-1" in page
    assert "first kernels" not in page  # they are 2D, as its operator is acs
    assert {"pretrained.md", "curves.png", "versions.json"} <= {p.name for p in run.iterdir()}


def test_a_broken_run_resumes_to_the_weights_of_an_unbroken_one(run, pretrain_values, monkeypatch):
    whole = KeepRun.on_train_epoch_end

    def stop_after_one(self, trainer, module):
        whole(self, trainer, module)
        raise KeyboardInterrupt

    broken = run.parent / "broken"
    monkeypatch.setattr(KeepRun, "on_train_epoch_end", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        runs.train(make_settings(pretrain_values | {"ema": 0.5}, "test"), broken)
    monkeypatch.undo()
    assert not (broken / "pretrained.safetensors").exists()
    runs.resume(broken)
    one, other = (read_checkpoint(folder / "last.ckpt") for folder in (run, broken))
    assert one["epoch"] == other["epoch"] == 1
    assert all(torch.equal(v, other["state_dict"][k]) for k, v in one["state_dict"].items())
    files = [load_file(folder / "pretrained.safetensors") for folder in (run, broken)]
    assert all(torch.equal(value, files[1][name]) for name, value in files[0].items())


def test_a_run_whose_pictures_changed_does_not_resume(run, levels, tmp_path):
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    data = shutil.copytree(levels, tmp_path / "levels")
    text = (moved / "settings.yaml").read_text(encoding="utf-8")
    (moved / "settings.yaml").write_text(text.replace(str(levels), str(data)), encoding="utf-8")
    assert runs.resume(moved)["steps"] == 6
    (data / "train" / "dark" / "0.jpg").unlink()
    with pytest.raises(InputError, match="its pictures are not those that the run .* began with"):
        runs.resume(moved)


def test_too_many_damaged_pictures_stop_the_run_by_name(pretrain_values, write_levels, tmp_path):
    data = write_levels(tmp_path / "data")
    for number in range(3):
        (data / "dark" / f"{number}.jpg").write_bytes(b"no picture")
    values = pretrain_values | {"data": str(data), "folds": 4, "epochs": 1}
    with pytest.raises(InputError, match=r"dark/\d.jpg: a damaged picture \(not a picture\)"):
        runs.train(make_settings(values, "test"), tmp_path / "stopped")
    told = make_settings(values | {"damaged": 0.2}, "test")
    metrics = runs.train(told, tmp_path / "run")
    assert sorted(metrics["damaged"]) == [str(data / f"dark/{n}.jpg") for n in range(3)]
    card = (tmp_path / "run" / "pretrained.md").read_text(encoding="utf-8")
    assert "3 damaged pictures left out" in card


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"classes": 4}, InputError, "has 3 classes, the setting classes says 4"),
        ({"data": "nowhere"}, InputError, "nowhere: no such folder"),
        ({"network": "resnet3d:19"}, UsageError, "unknown network 'resnet3d:19'"),
        ({"network": "fcn:resnet18"}, UsageError, "fcn:resnet18 segments"),
        ({"network": "torchvision:squeezenet1_0", "size": 8}, UsageError, "8 pixels does not go"),
    ],
)
def test_what_stops_a_run_leaves_nothing(pretrain_values, tmp_path, change, error, said):
    with pytest.raises(error, match=said):
        runs.train(make_settings(pretrain_values | change, "test"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"mean": [1, 2]}, "mean is one number, or one for each of three colours"),
        ({"deviation": 0}, "deviation is above 0"),
        ({"cache": "somewhere"}, "cache has no use here"),
        ({"transform": "none", "fusion": "i3d"}, "transform 'none' converts nothing"),
        ({"augment": "mixup"}, "setting 'augment'"),
        ({"fold": 10}, "fold 10 does not exist with 10 folds"),
        ({"smothing": 0.1}, "unknown setting 'smothing'; did you mean 'smoothing'"),
    ],
)
def test_settings_that_make_no_sense(pretrain_values, told, said):
    with pytest.raises(UsageError, match=said):
        make_settings(pretrain_values | told, "test")


def test_settings_that_a_network_brings_along(pretrain_values):
    told = {"task": "pretrain-classify", "data": "x"}
    assert make_settings(told, "test").fusion == "i3d"
    assert make_settings(told | {"network": "p3d:63"}, "test").fusion == "i3d"
    assert make_settings(told | {"network": "torchvision:resnet18"}, "test").fusion == "acs"
    assert make_settings(told | {"transform": "none"}, "test").fusion == "slicewise"
    assert make_settings(told, "test").depth_stride is False
