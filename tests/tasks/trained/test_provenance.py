import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub.repocard import metadata_load
from safetensors.torch import save_file

import thirdaxis
from thirdaxis.tasks.run_folder import Run, write_run
from thirdaxis.tasks.segment import make_settings
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.trained.card import card_of
from thirdaxis.tasks.trained.provenance import provenance_of, shareable


@pytest.fixture
def run(tmp_path):
    """A run as it lies on disk at its end, without the training."""
    data, weights = tmp_path / "Task99_Kidney", tmp_path / "secret" / "resnet.safetensors"
    data.mkdir()
    weights.parent.mkdir()
    about = {"name": "Kidneys of Someplace", "licence": "CC-BY-SA 4.0", "reference": "Someone"}
    (data / "dataset.json").write_text(json.dumps(about))
    save_file({"weight": torch.zeros(1)}, weights, metadata={"license": "bsd-3-clause"})
    settings = make_settings(
        {
            "data": str(data),
            "weights": str(weights),
            "cache": str(tmp_path / "cache"),
            "network": "torchvision:resnet18",
            "accelerator": "gpu",
            "devices": 2,
        },
        "test",
    )
    plan = Plan({0: "background", 1: "kidney"}, ("CT",), (None, 1.5, 1), 1.0, (8, 16, 16))
    run = Run(tmp_path / "run", settings, plan, ("jane_doe", "john_doe"), ("jim_doe",))
    run.folder.mkdir()
    write_run(run.folder, run, "converted", f"weights from {weights}: 9 tensors loaded, 2 missing")
    metrics = {
        "best_epoch": 7,
        "scores": {"kidney": {"dice_mean": 0.875, "hd95_mm_mean": None}},
        "pictures": {"worst": "jim_doe"},
    }
    (run.folder / "metrics.json").write_text(json.dumps(metrics))
    return run


def test_what_is_told_is_what_the_run_was_made_from(run):
    found = provenance_of(run)
    digest = hashlib.sha256(Path(run.settings.weights).read_bytes()).hexdigest()
    assert found["weights_2d"] == {
        "network": "torchvision:resnet18",
        "source": "resnet.safetensors",
        "sha256": digest,
        "licence": "bsd-3-clause",
        "loaded": "9 tensors loaded, 2 missing",
    }
    assert found["training_data"] == {
        "name": "Kidneys of Someplace",
        "training_cases": 2,
        "held_out_cases": 1,
        "test_cases": 0,
        "licence": "CC-BY-SA 4.0",
        "reference": "Someone",
    }
    assert found["metrics"] == {"best_epoch": 7, "scores": {"kidney": {"dice_mean": 0.875}}}
    assert found["thirdaxis"] == thirdaxis.__version__
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_nothing_told_names_a_case_or_a_place(run, tmp_path):
    told = json.dumps([provenance_of(run), shareable(run.settings).plain()])
    for word in (str(tmp_path), "doe", "secret", "cache/"):
        assert word not in told
    assert shareable(run.settings).accelerator == "auto"


def test_what_is_gone_is_not_told(run, tmp_path):
    for name in ("secret/resnet.safetensors", "Task99_Kidney/dataset.json", "run/metrics.json"):
        (tmp_path / name).unlink()
    found = provenance_of(run)
    assert found["weights_2d"]["sha256"] is None
    assert found["weights_2d"]["licence"] == "unknown, ask the source"
    assert found["training_data"]["name"] == "Task99_Kidney" and found["metrics"] == {}


def test_a_run_that_began_from_another_tells_where_that_began(run, tmp_path):
    first = tmp_path / "slices"
    (first / "model").mkdir(parents=True)
    origin = {"provenance": {"weights_2d": {"source": "library", "licence": "mit"}}}
    (first / "model" / "config.json").write_text(json.dumps(origin))
    settings = run.settings.model_copy(update={"weights": str(first)})
    found = provenance_of(replace(run, settings=settings))["weights_2d"]
    assert found["source"] == "slices" and found["sha256"] is None
    assert found["run"] == origin["provenance"]


@pytest.mark.parametrize("licence", [None, "cc-by-4.0"])
def test_the_card_has_the_header_of_the_hub_and_the_facts(run, tmp_path, licence):
    origin = provenance_of(run) | ({"licence": licence} if licence else {})
    config = {
        "task": "segment",
        "settings": run.settings.plain(),
        "plan": run.plan.plain(),
        "provenance": origin,
    }
    (tmp_path / "README.md").write_text(card_of(config), encoding="utf-8")
    header = metadata_load(tmp_path / "README.md")
    assert header["library_name"] == "thirdaxis" and "acs" in header["tags"]
    assert header["license"] == (licence or "other")
    assert header.get("license_name") == (None if licence else "not-stated")
    assert header["datasets"] == ["Kidneys of Someplace"] and "dice" in header["metrics"]
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    for fact in (
        "own×1.5×1 mm",
        "1 kidney",
        "CC-BY-SA 4.0",
        "bsd-3-clause",
        "2 cases",
        "kidney dice_mean | 0.875",
    ):
        assert fact in text
