import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from thirdaxis.cli.main import run as command

TOLD = {
    "task": "detect",
    "boxes": "boxes.csv",
    "network": "timm:test_resnet",
    "fusion": "tsm",
    "size": 64,
    "width": 16,
    "hidden": 32,
    "anchors": [12, 20],
    "masks": False,
    "batch": 2,
    "epochs": 1,
    "epoch_steps": 1,
    "warmup": 0,
    "reference_batch": None,
    "augment": "none",
    "selection": 0,
    "folds": 3,
    "draws": 20,
    "most": 10,
    "accelerator": "cpu",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small CTs with a ball each, a table of its boxes, and a run on them."""
    root = tmp_path_factory.mktemp("scans")
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*map(np.arange, (64, 64, 7)), indexing="ij"), -1)
    rows = ["file,x1,y1,x2,y2,z"]
    for number in range(6):
        x, y = random.integers(14, 50, 2)
        far = ((grid - (x, y, 3)) / (6, 6, 2.5)) ** 2
        image = random.normal(-300, 50, (64, 64, 7)) + 400 * (far.sum(-1) < 1)
        affine = np.diag([-0.8, -0.8, 2.0, 1.0])
        nibabel.save(
            nibabel.Nifti1Image(image.astype(np.float32), affine), root / f"s{number}.nii.gz"
        )
        rows.append(f"s{number}.nii.gz,{x - 7},{y - 7},{x + 7},{y + 7},3")
    (root / "boxes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (root / "run.yaml").write_text(yaml.safe_dump(TOLD | {"data": str(root)}), encoding="utf-8")
    assert command(["train", str(root / "run.yaml"), "-o", str(root / "run")]) == 0
    return root


@pytest.fixture(scope="module")
def found(place: Path) -> Path:
    words = [
        "predict",
        str(place / "run"),
        str(place / "s0.nii.gz"),
        "--score",
        "0",
        "--drawn",
        "1",
    ]
    assert command([*words, "-o", str(place / "found")]) == 0
    return place / "found"


def test_lesions_are_found_and_their_boxes_scored(place, found, capsys):
    told = json.loads((found / "s0" / "lesions.json").read_text(encoding="utf-8"))
    assert told["mode"] == "windows" and told["margin_pixels"] == 0 and told["lesions"]
    assert [path.name for path in (found / "s0").glob("*.png")] == ["lesion-01.png"]
    words = ["evaluate", str(found / "detections.json"), str(place / "boxes.csv")]
    assert command(words) == 1
    assert "6 of its 7 images are not in" in capsys.readouterr().err
    scores = [*words, "--others", "drop", "-o", str(place / "scores"), "--pictures", "1"]
    assert command(scores) == 0
    shown = capsys.readouterr().out
    assert "6 lesions on 6 images" in shown and "AP50" in shown and "6 images" in shown
    assert {path.name for path in (place / "scores").iterdir()} == {
        *("scores.csv", "scores.json", "scores.html"),
    }


def test_slabs_are_asked_for_by_name(place, capsys):
    words = ["predict", str(place / "run"), str(place / "s1.nii.gz"), "-o", str(place / "slabs")]
    assert command([*words, "--mode", "slab", "--score", "0.9"]) == 0
    told = json.loads((place / "slabs" / "s1" / "lesions.json").read_text(encoding="utf-8"))
    assert told["mode"] == "slab" and told["linking"]["score"] == 0.9
    assert "tsm was trained on windows of 3 slices" in capsys.readouterr().out
    assert command([*words, "--mode", "slabs"]) == 2
    assert "did you mean 'slab'" in capsys.readouterr().err


def test_a_run_is_scored_on_its_test_slices_and_compared(place, capsys):
    detections = str(place / "run" / "detections.json")
    words = ["evaluate", detections, str(place / "run"), "--against", detections]
    assert command([*words, "-o", str(place / "compared")]) == 0
    shown = capsys.readouterr().out
    assert "FROC +0.0000 against" in shown
    told = json.loads((place / "compared" / "scores.json").read_text(encoding="utf-8"))
    metrics = json.loads((place / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert told["groups"][0]["froc"] == pytest.approx(metrics["scores"]["froc"])


def test_a_bad_scan_is_told_at_the_end(place, capsys, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("s0", "s1"):
        (tmp_path / "in" / f"{name}.nii.gz").write_bytes((place / f"{name}.nii.gz").read_bytes())
    (tmp_path / "in" / "s0.nii.gz").write_bytes(b"broken")
    words = ["predict", str(place / "run"), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert command(words) == 1
    told = capsys.readouterr()
    assert "s0.nii.gz" in told.err and "Traceback" not in told.err
    assert (tmp_path / "out" / "s1" / "lesions.json").is_file()
    assert not (tmp_path / "out" / "s0").exists()


def test_faults_are_one_line(place, found, capsys):
    detections = str(found / "detections.json")
    assert command(["evaluate", detections, str(place / "gone")]) == 1
    assert command(["evaluate", detections, str(place)]) == 1
    assert "--boxes" in capsys.readouterr().err
    assert command(["evaluate", detections, str(place / "run"), "--overlap", "dice"]) == 1
    assert command(["evaluate", str(place / "gone.json"), str(place / "run")]) == 1
    run, scan = str(place / "run"), str(place / "s0.nii.gz")
    assert command(["predict", run, scan, "--score", "2"]) == 2
    assert command(["predict", run, scan, "--margin", "-1"]) == 2
    assert command(["predict", run, scan, "--flip", "depth"]) == 2
    assert "--flip is for networks trained to segment" in capsys.readouterr().err
    assert command(["predict", run, scan, "--margin", "-1"]) == 2
    assert "Traceback" not in capsys.readouterr().err
