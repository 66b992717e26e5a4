"""Pretraining from a folder to a file, and that file in the networks of other tasks."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from thirdaxis.cli.main import run as command
from thirdaxis.data import medmnist
from thirdaxis.data.phantoms.sets import write_phantoms
from thirdaxis.errors import InputError
from thirdaxis.fusion.i3d import I3D
from thirdaxis.nets.lesion.svd import SvdSettings, make_svd_detector
from thirdaxis.nets.volumes import make_volumetric
from thirdaxis.tasks import runs
from thirdaxis.tasks.detection.network import make_lesion_detector
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.settings_files import make_settings


@pytest.fixture(scope="module")
def told(coco, small_pretraining):
    return {**small_pretraining, "data": str(coco)}


@pytest.fixture(scope="module")
def run(told, tmp_path_factory):
    """A finished run, to be read and not changed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    runs.train(make_settings(told, "test"), out)
    return out


def test_a_run_leaves_one_file_of_weights_that_tells_of_itself(run):
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["steps"], metrics["training_pictures"], metrics["categories"]) == (4, 7, 2)
    assert 0 <= metrics["scores"]["ap"] <= metrics["scores"]["ap50"] <= 1
    with (run / "metrics.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert max(float(row["val_ap"]) for row in rows) == metrics["validation_ap"]
    assert metrics["validation_ap"] == pytest.approx(metrics["scores"]["ap"], abs=1e-6)
    tensors = load_file(run / "pretrained.safetensors")
    best = read_checkpoint(run / "best.ckpt")["state_dict"]
    assert {f"net.{name}" for name in tensors} == set(best)
    assert all(torch.equal(value, best[f"net.{name}"]) for name, value in tensors.items())
    assert tensors["heads.box_predictor.cls_score.weight"].shape[0] == 3
    with safe_open(run / "pretrained.safetensors", "pt") as file:
        header = file.metadata()
    assert header["task"] == "pretrain-detect" and header["network"] == "p3d:18ba-gn"
    assert json.loads(header["scores"]) == {n: metrics["scores"][n] for n in ("ap", "ap50", "ap75")}
    card = (run / "pretrained.md").read_text(encoding="utf-8")
    assert "7 pictures, 11 boxes, 2 categories" in card and str(run.parent) not in card
    assert (run / "report.html").is_file() and (run / "curves.png").is_file()
    assert "I3D" in (run / "conversion.txt").read_text(encoding="utf-8")


def test_a_broken_run_goes_on_to_the_same_end(run, told, tmp_path):
    def say(line):
        if line.startswith("epoch 2/"):
            raise KeyboardInterrupt

    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        runs.train(make_settings(told, "test"), broken, Display(say=say))
    assert read_checkpoint(broken / "last.ckpt")["epoch"] == 0
    runs.resume(broken)
    one, other = (read_checkpoint(folder / "last.ckpt") for folder in (run, broken))
    assert one["global_step"] == other["global_step"] == 4
    for key, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][key]), key
    ends = [json.loads((folder / "metrics.json").read_text("utf-8")) for folder in (run, broken)]
    assert ends[0]["scores"] == ends[1]["scores"]


def test_a_run_does_not_go_on_with_other_boxes(run, make_coco, tmp_path):
    root = make_coco(tmp_path / "other")
    file = root / "annotations" / "instances_train2017.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    del told["annotations"][0]
    file.write_text(json.dumps(told), encoding="utf-8")
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("settings.yaml", "plan.json", "split.json", "last.ckpt"):
        (copy / name).symlink_to(run / name)
    kept = (run / "settings.yaml").read_text(encoding="utf-8")
    (copy / "settings.yaml").unlink()
    settings = yaml.safe_load(kept) | {"data": str(root)}
    (copy / "settings.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with pytest.raises(InputError, match="its boxes are not those that the run .* began with"):
        runs.resume(copy)


def test_a_lesion_detector_begins_from_the_file_without_what_cannot_follow(run, tmp_path):
    file = run / "pretrained.safetensors"
    told = {
        **{"task": "detect", "network": "p3d:18ba-gn", "depth": 9, "masks": False, "size": 64},
        **{"interval": 2.5, "width": 8, "hidden": 16, "anchors": [16, 32, 64, 128, 256]},
        **{"proposals_before": [50, 20], "proposals_after": [50, 20], "most": 5},
        **{"epochs": 1, "epoch_steps": 1, "batch": 2, "warmup": 0, "draws": 10},
        **{"accelerator": "cpu", "precision": "32", "augment": "flips"},
    }
    settings = make_settings({**told, "data": "d", "weights": str(file)}, "test")
    net = make_lesion_detector(settings, DetectPlan.of(settings)).net
    tensors, state = load_file(file), net.state_dict()
    fused = {f"reductions.{level}.fuse.weight" for level in (0, 1, 3)}
    heads = {name for name in tensors if name.startswith("heads.box_predictor.")}
    for name, value in state.items():
        assert torch.equal(value, tensors[name]) == (name not in fused | heads), name
    # The slices of a channel are averaged at the start, 9, 5 and 1 of them instead of 3.
    for level, slices in ((0, 9), (1, 5), (3, 1)):
        weight = state[f"reductions.{level}.fuse.weight"]
        assert weight.shape[1] == slices and torch.allclose(weight, torch.tensor(1 / slices))
    write_phantoms(tmp_path / "phantoms", 6, size=64)
    settings = settings.model_copy(update={"data": str(tmp_path / "phantoms")})
    metrics = runs.train(settings, tmp_path / "lesions")
    report = (tmp_path / "lesions" / "weights.txt").read_text(encoding="utf-8")
    for level, slices in ((0, 9), (1, 5), (3, 1)):
        said = f"skipped reductions.{level}.fuse.weight: fuses 3 slices, here {slices}"
        assert said in report
    assert "0 missing" in report and metrics["steps"] == 1


def test_a_classifier_begins_from_its_backbone(run, tmp_path, monkeypatch):
    file = run / "pretrained.safetensors"
    about = medmnist.SETS["adrenalmnist3d"]
    few = dataclasses.replace(about, counts=((4, 2, 2),))
    monkeypatch.setitem(medmnist.SETS, "adrenalmnist3d", few)
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "adrenalmnist3d.npz",
        **{
            f"{part}_{what}": value
            for part, count in (("train", 4), ("val", 2), ("test", 2))
            for what, value in (
                ("images", rng.integers(0, 255, (count, 28, 28, 28), dtype=np.uint8)),
                ("labels", np.arange(count)[:, None] % 2),
            )
        },
    )
    told = {
        "task": "classify",
        "data": str(tmp_path / "adrenalmnist3d.npz"),
        "network": "p3d:18ba-gn",
    }
    told |= {"weights": str(file), "epochs": 1, "epoch_steps": 1, "batch": 2, "draws": 10}
    told |= {"accelerator": "cpu", "precision": "32"}
    metrics = runs.train(make_settings(told, "test"), tmp_path / "classes")
    assert metrics["steps"] == 1
    tensors = load_file(file)
    own = {n.removeprefix("backbone.net.") for n in tensors if n.startswith("backbone.net.")}
    report = (tmp_path / "classes" / "weights.txt").read_text(encoding="utf-8")
    assert f"(backbone.net.* as *): {len(own)} tensors loaded, 0 adapted" in report
    assert "missing fc.weight" in report and "missing fc.bias" in report
    assert "skipped heads.box_head.fc6.weight: not in the network" in report


def test_the_encoder_of_a_segmentation_network_begins_from_it(tmp_path):
    settings = SvdSettings(backbone="resnet3d:18-gn", depth=3, reduces=False, width=8, hidden=16)
    with torch.device("meta"):
        state = make_svd_detector(settings).state_dict()
    tensors = {name: torch.full_like(value, 0.25, device="cpu") for name, value in state.items()}
    save_file(tensors, tmp_path / "coco.safetensors")
    net, report = make_volumetric(
        "resnet3d:18-gn",
        I3D(),
        tmp_path / "coco.safetensors",
        classes=2,
        channels=1,
        task="segment",
    )
    filled = {n for n, v in net.state_dict().items() if bool((v == 0.25).all())}
    own = {n.removeprefix("backbone.net.") for n in tensors if n.startswith("backbone.net.")}
    assert filled == set(report.loaded) and len(filled) == len(own) > 50
    assert all(name.startswith("encoder.") for name in filled)
    assert not any(name.startswith("encoder.") for name in report.missing)


def test_the_command_tells_what_is_wrong_in_one_line_and_leaves_nothing(told, tmp_path, capsys):
    out = ["-o", str(tmp_path / "run")]
    assert command(["pretrain", "detect", str(tmp_path / "none"), *out]) == 1
    assert "no such folder; expected one that holds annotations" in capsys.readouterr().err
    broken = tmp_path / "broken" / "annotations"
    broken.mkdir(parents=True)
    (broken / "instances_train2017.json").write_text('{"images": [', encoding="utf-8")
    (tmp_path / "broken" / "train2017").mkdir()
    assert command(["pretrain", "detect", str(tmp_path / "broken"), *out]) == 1
    told_ = capsys.readouterr().err
    assert "not readable as JSON" in told_ and told_.count("\n") == 1
    words = ["--network", "resnet3d:19"]
    assert command(["pretrain", "detect", told["data"], *words, *out]) == 2
    assert "unknown network 'resnet3d:19'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
