import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from thirdaxis.cli.main import run as command


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of twelve small scans, bright and dull, and a run on it."""
    root = tmp_path_factory.mktemp("scans")
    random = np.random.default_rng(0)
    rows = ["file,label"]
    for number in range(12):
        image = random.normal(number % 2, 0.3, (12, 12, 6)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), root / f"s{number}.nii.gz")
        rows.append(f"s{number}.nii.gz,{'dull' if number % 2 else 'bright'}")
    (root / "table.csv").write_text("\n".join(rows))
    told = {
        "task": "classify",
        "data": str(root / "table.csv"),
        "network": "timm:test_resnet",
        "augment": "none",
        "epochs": 1,
        "epoch_steps": 1,
        "batch": 4,
        "folds": 3,
        "selection": 0,
        "draws": 20,
        "accelerator": "cpu",
    }
    (root / "run.yaml").write_text(yaml.safe_dump(told))
    words = ["train", str(root / "run.yaml"), "-o", str(root / "run"), "--set", "intensity=zscore"]
    assert command(words) == 0
    return root


def test_predictions_are_a_table_and_are_scored(place, tmp_path, capsys):
    words = ["predict", str(place / "run"), str(place / "table.csv"), "-o", str(tmp_path / "found")]
    assert command(words) == 0
    written = tmp_path / "found" / "predictions.csv"
    assert str(written) in capsys.readouterr().out.replace("\n", "")
    with written.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12 and rows[0]["decided"] in ("bright", "dull")
    assert float(rows[0]["probability bright"]) == pytest.approx(
        1 - float(rows[0]["probability dull"]), abs=1e-6
    )
    held_out = str(place / "run" / "predictions.csv")
    assert command(["evaluate", held_out, str(place / "run"), "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "AUC" in shown and "calibration error" in shown and (tmp_path / "scores.json").is_file()


def test_a_fault_is_one_line(place, tmp_path, capsys):
    assert command(["predict", str(place / "run"), str(place / "run.yaml"), "-o", "x"]) == 1
    assert command(["evaluate", str(place / "table.csv"), str(place / "run")]) == 1
    told = capsys.readouterr().err
    assert "not a table of predictions" in told and "Traceback" not in told
    bad = ["train", str(place / "run.yaml"), "-o", str(tmp_path / "r"), "--set", "label_columns=x"]
    assert command(bad) == 1
    assert "no column 'x'" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
