import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml

from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks import runs
from thirdaxis.tasks.classification.table import read_answers
from thirdaxis.tasks.classify import evaluate, load_classifier, predict
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.keep import KeepRun, read_checkpoint
from thirdaxis.tasks.settings_files import make_settings

SETTINGS = {
    "task": "classify",
    "network": "timm:test_resnet",
    "label_columns": "score",
    "patient_column": "who",
    "mask_column": "file",
    "image_folder": "images",
    "mask_folder": "masks",
    "classes": {1: "dull", 2: "dull", 4: "bright", 5: "bright"},
    "class_names": "dull,bright",
    "drop": [3],
    "around": "mask",
    "size": [8, 16, 16],
    "spacing": [2, 1, 1],
    "intensity": "window",
    "window": [0, 200],
    "augment": "light",
    "batch": 4,
    "epochs": 2,
    "epoch_steps": 3,
    "folds": 3,
    "selection": 0.3,
    "draws": 20,
    "accelerator": "cpu",
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four scans of twelve patients with a ball each, bright or dull; one row to drop."""
    root = tmp_path_factory.mktemp("balls")
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (22, 20, 12)), indexing="ij"), -1)
    rows = [["file", "who", "score", "x", "y", "z", "round", "large", "part"]]
    for number in range(25):
        score = 3 if number == 24 else (1, 2, 4, 5)[number % 4]
        centre = random.uniform((8, 8, 5), (14, 12, 7))
        ball = ((((grid - centre) / (3, 3, 2)) ** 2).sum(-1) < 1).astype(np.uint8)
        image = random.normal(100, 10, ball.shape) + (80.0 if score > 3 else -20.0) * ball
        name, affine = f"ball-{number}.nii.gz", np.diag([-1.0, 1.0, 2.0, 1.0])
        nibabel.save(nibabel.Nifti1Image(image.astype(np.float32), affine), root / "images" / name)
        nibabel.save(nibabel.Nifti1Image(ball, affine), root / "masks" / name)
        part = "test" if number % 12 > 7 else "train"
        place = [f"{value:.2f}" for value in affine[:3, :3] @ centre]
        marks = [number % 2, number % 4 // 2, part]
        rows.append([name, f"p{number % 12}", score, *place, *marks])
    (root / "table.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    return root / "table.csv"


@pytest.fixture(scope="module")
def told(table: Path) -> dict[str, Any]:
    return SETTINGS | {"data": str(table)}


@pytest.fixture(scope="module")
def run(told: dict[str, Any], table: Path) -> Path:
    """A finished run, to be read and not changed."""
    out = table.parent / "run"
    runs.train(make_settings(told, "test"), out)
    return out


def test_a_run_leaves_what_it_was_and_what_it_found(run, table):
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert files >= {
        *("settings.yaml", "plan.json", "split.json", "versions.json", "conversion.txt"),
        *("weights.txt", "metrics.csv", "metrics.json", "curves.png", "predictions.csv"),
        *("scores.json", "pictures/roc.png", "pictures/calibration.png", "last.ckpt", "best.ckpt"),
    }
    plan = json.loads((run / "plan.json").read_text())
    assert plan["names"] == ["dull", "bright"] and plan["size"] == [8, 16, 16]
    split = json.loads((run / "split.json").read_text())
    with table.open() as stream:
        patients = {row["file"][:-7]: row["who"] for row in csv.DictReader(stream)}
    parts = [{patients[name] for name in split[part]} for part in split]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 12
    assert sum(len(split[part]) for part in split) == 24
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["steps"] == 6 and metrics["held_out_samples"] == len(split["test"]) == 8
    low, high = metrics["intervals"]["auc"]
    assert 0 <= low <= metrics["scores"]["auc"] <= high <= 1
    scores = json.loads((run / "scores.json").read_text())
    assert scores["drawn"] == "by patient" and scores["patients"] == 4


def test_the_predictions_of_the_held_out_samples_are_those_of_the_best_network(run, table):
    found = read_answers(run / "predictions.csv")
    again = predict(run, table, run.parent / "again" / "p.csv")
    place = {name: number for number, name in enumerate(again.samples)}
    chosen = torch.tensor([place[name] for name in found.samples])
    # Sums over batches of other samples round otherwise.
    torch.testing.assert_close(again.answers[chosen], found.answers, atol=1e-5, rtol=1e-4)
    assert again.truth is None and len(again.samples) == 25
    net = load_classifier(run).net
    best = read_checkpoint(run / "best.ckpt")["state_dict"]
    assert all(torch.equal(value, best[f"net.{name}"]) for name, value in net.state_dict().items())


def test_evaluation_gives_the_scores_of_the_run(run, tmp_path):
    metrics = json.loads((run / "metrics.json").read_text())
    for against in (run, run / "predictions.csv"):
        scores = evaluate(run / "predictions.csv", against, tmp_path / "scores", draws=20)
        assert scores.values["auc"] == pytest.approx(metrics["scores"]["auc"])
    told = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert sum(map(sum, told["confusion"]["rows are true"])) == 8


def test_a_table_without_a_held_out_sample_is_refused(run, tmp_path):
    lines = (run / "predictions.csv").read_text().splitlines()
    short, strange = tmp_path / "short.csv", tmp_path / "strange.csv"
    short.write_text("\n".join(lines[:-1]))
    strange.write_text("\n".join([*lines, lines[-1].replace("ball-", "cube-")]))
    with pytest.raises(InputError, match="1 of the 8 held-out samples have no prediction"):
        evaluate(short, run)
    with pytest.raises(InputError, match="has no sample 'cube-"):
        evaluate(strange, run)


def test_a_broken_run_resumes_to_the_weights_of_an_unbroken_one(run, told, monkeypatch):
    whole = KeepRun.on_train_epoch_end

    def stop_after_one(self: KeepRun, trainer: Any, module: Any) -> None:
        whole(self, trainer, module)
        raise KeyboardInterrupt

    broken = run.parent / "broken"
    monkeypatch.setattr(KeepRun, "on_train_epoch_end", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        runs.train(make_settings(told, "test"), broken)
    monkeypatch.undo()
    assert not (broken / "metrics.json").exists()
    runs.resume(broken)
    one, other = (read_checkpoint(folder / "last.ckpt") for folder in (run, broken))
    assert one["epoch"] == other["epoch"] == 1
    assert all(torch.equal(v, other["state_dict"][k]) for k, v in one["state_dict"].items())
    assert (run / "predictions.csv").read_text() == (broken / "predictions.csv").read_text()


def variants() -> Iterator[Any]:
    centre = {"around": "centre", "centre_columns": "x,y,z", "mask_column": None}
    yield pytest.param(centre | {"part_column": "part", "selection": 0.2}, id="official split")
    yield pytest.param({"balance": "sampler", "selection": 0, "fraction": 0.5}, id="last epoch")
    labels = {"kind": "labels", "label_columns": "round,large", "class_names": None}
    yield pytest.param(labels | {"classes": None, "drop": []}, id="labels")
    grade = {"kind": "grade", "classes": None, "class_names": None, "ema": 0.5}
    yield pytest.param(grade, id="grade")


@pytest.mark.parametrize("changes", variants())
def test_other_kinds_of_runs(told, changes, tmp_path):
    values = told | changes | {"epochs": 1, "epoch_steps": 1, "cache": str(tmp_path / "cache")}
    metrics = runs.train(make_settings(values, "test"), tmp_path / "run")
    found = read_answers(tmp_path / "run" / "predictions.csv")
    assert found.kind == values.get("kind", "classes") and found.truth is not None
    assert len(found.samples) == metrics["held_out_samples"] > 0
    assert len(list((tmp_path / "cache").glob("*.npy"))) == sum(
        metrics[f"{part}_samples"] for part in ("training", "validation", "held_out")
    )
    again = runs.resume(tmp_path / "run")
    assert again["scores"] == metrics["scores"]


def test_a_run_says_how_many_slices_its_network_skips(told, tmp_path):
    said: list[str] = []
    settings = make_settings(told | {"fusion": "slicewise", "epochs": 1}, "test")
    runs.train(settings, tmp_path / "run", Display(say=said.append))
    assert any("reads 4 of the 8 slices" in line for line in said)


def test_a_patient_on_both_sides_of_an_official_split_is_refused(told, table, tmp_path):
    text = table.read_text().replace(",test", ",train", 1)
    (table.parent / "leaky.csv").write_text(text)
    values = told | {"data": str(table.parent / "leaky.csv"), "part_column": "part"}
    with pytest.raises(InputError, match="is in both training and test"):
        runs.train(make_settings(values, "test"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"class_names": "dull,bright,odd"}, InputError, "'odd' has no samples in training"),
        ({"class_names": "dull"}, InputError, "'bright' is not among the class_names"),
        ({"classes": {1: "dull"}}, UsageError, "not in the mapping"),
        ({"drop": [3, 4, 5], "class_names": None}, InputError, "all samples are of the class"),
        ({"augment": "lidc"}, UsageError, "whose sides differ"),
        ({"network": "unet"}, UsageError, "unet segments"),
        ({"data": "none.csv"}, InputError, "no such table"),
    ],
)
def test_what_cannot_be_trained_leaves_no_folder(told, tmp_path, changes, kind, message):
    with pytest.raises(kind, match=message):
        runs.train(make_settings(told | changes, "test"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_what_the_run_can_take_is_predicted(run, told, tmp_path):
    scans = run.parent / "images"
    with pytest.raises(UsageError, match="which a table"):
        predict(run, scans, tmp_path / "p.csv")
    with pytest.raises(UsageError, match=r"written as \.csv"):
        predict(run, scans, tmp_path / "p.txt")
    whole = yaml.safe_load((run / "settings.yaml").read_text())
    assert whole["task"] == "classify"


def test_runs_on_whole_scans_predict_folders(told, table, tmp_path):
    changes = {"around": "whole", "spacing": None, "mask_column": None, "epochs": 1}
    values = told | changes | {"epoch_steps": 1, "selection": 0}
    runs.train(make_settings(values, "test"), tmp_path / "run")
    found = predict(tmp_path / "run", table.parent / "images", tmp_path / "p.csv")
    assert len(found.samples) == 25 and found.answers.shape == (25, 2)
    torch.testing.assert_close(found.answers.sum(1), torch.ones(25))


def test_the_model_of_a_run_answers_as_the_run_without_it(run, table, tmp_path):
    model = shutil.copytree(run / "model", tmp_path / "model")
    again = predict(model, table, tmp_path / "p.csv")
    expected = predict(run, table, tmp_path / "q.csv")
    assert torch.equal(again.answers, expected.answers) and again.names == ("dull", "bright")
    for name in ("README.md", "config.json"):
        assert str(table.parent) not in (model / name).read_text(encoding="utf-8")
    path = model / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    assert config["provenance"]["metrics"]["scores"]["auc"] >= 0
    config["settings"]["window"] = [50, 150]  # another preprocessing is another answer
    path.write_text(json.dumps(config))
    assert not torch.allclose(predict(model, table, tmp_path / "r.csv").answers, expected.answers)
