import csv
import json
from importlib.metadata import version

import nibabel
import numpy as np
import pytest
import torch
import yaml

from thirdaxis.data.folder import Case, Folder
from thirdaxis.data.grid import to_grid
from thirdaxis.data.volume import read_labels, read_volume, write_labels
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.run_folder import read_run, split_cases
from thirdaxis.tasks.segment import evaluate, load_segmenter, make_settings, resume, train
from thirdaxis.tasks.segmentation.data import SegmentData
from thirdaxis.tasks.segmentation.prepare import Prepared
from thirdaxis.tasks.segmentation.preprocess import preprocessing


def test_a_run_folder_holds_everything(phantom_run):
    names = {
        str(path.relative_to(phantom_run)) for path in phantom_run.rglob("*") if path.is_file()
    }
    assert {
        *("settings.yaml", "plan.json", "split.json", "versions.json", "conversion.txt"),
        *("weights.txt", "last.ckpt", "best.ckpt", "metrics.json", "metrics.csv", "curves.png"),
        *("pictures/worst.png", "pictures/median.png", "pictures/best.png"),
        *("validation/scores.csv", "validation/scores.json"),
    } <= names
    assert any("tfevents" in name for name in names)
    assert not [path for path in phantom_run.parent.iterdir() if path.name.startswith(".")]
    assert not [name for name in names if name.rpartition("/")[2].startswith(".")]


def test_resolved_settings_and_versions_can_be_read_back(phantom_run, phantom_settings):
    settings = yaml.safe_load((phantom_run / "settings.yaml").read_text(encoding="utf-8"))
    assert settings["patch"] == phantom_settings["patch"]
    assert settings["schedule"] == "poly"
    assert read_run(phantom_run).settings == make_settings(settings, "test")
    assert json.loads((phantom_run / "versions.json").read_text(encoding="utf-8"))[
        "torch"
    ] == version("torch")
    assert (phantom_run / "conversion.txt").read_text(encoding="utf-8").strip()
    assert "random start" in (phantom_run / "weights.txt").read_text(encoding="utf-8")


def test_checkpoints_load_without_running_code(phantom_run):
    for name in ("last.ckpt", "best.ckpt"):
        checkpoint = torch.load(phantom_run / name, weights_only=True)
        assert checkpoint["state_dict"]
        assert checkpoint["hyper_parameters"]["settings"]["network"] == "unet"
    assert torch.load(phantom_run / "last.ckpt", weights_only=True)["epoch"] == 1


def test_no_held_out_case_was_trained_on(phantom_run):
    parts = json.loads((phantom_run / "split.json").read_text(encoding="utf-8"))
    assert len(parts["training"]) == 4 and len(parts["validation"]) == 2
    assert not set(parts["training"]) & set(parts["validation"])


def test_metrics_agree_with_the_written_label_maps(phantom_run):
    metrics = json.loads((phantom_run / "metrics.json").read_text(encoding="utf-8"))
    folder = phantom_run.parent / "data" / "labelsTr"
    scores = []
    for name in json.loads((phantom_run / "split.json").read_text(encoding="utf-8"))["validation"]:
        truth = nibabel.load(folder / f"{name}.nii.gz")
        found = nibabel.load(phantom_run / "validation" / f"{name}.nii.gz")
        np.testing.assert_allclose(found.affine, truth.affine, atol=1e-5)
        mine, its = np.asarray(found.dataobj), np.asarray(truth.dataobj)
        scores.append(
            [2 * ((mine == v) & (its == v)).sum() / ((mine == v).sum() + (its == v).sum())
             for v in (1, 2)]
        )  # fmt: skip
    bright, dark = np.mean(scores, axis=0)
    assert metrics["scores"]["bright"]["dice_mean"] == pytest.approx(bright)
    assert metrics["scores"]["dark"]["dice_mean"] == pytest.approx(dark)
    assert metrics["scores"]["mean"]["dice_mean"] == pytest.approx((bright + dark) / 2)
    # Without a spacing the network's grid is the scan's own, turned: both Dice are the same.
    assert metrics["best_validation_dice"] == pytest.approx((bright + dark) / 2, abs=1e-6)


def test_the_table_has_one_row_an_epoch(phantom_run):
    with (phantom_run / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "2"), ("1", "4")]
    assert all(float(row["train_loss"]) > 0 for row in rows)
    assert float(rows[-1]["learning_rate"]) == 0


def test_an_existing_folder_is_refused(phantom_run, phantom_settings):
    settings = make_settings({"data": str(phantom_run.parent / "data"), **phantom_settings}, "t")
    with pytest.raises(UsageError, match="exists already .--resume goes on with it"):
        train(settings, phantom_run)


def test_a_failed_start_leaves_nothing(tmp_path, make_phantoms, phantom_settings):
    data = make_phantoms(tmp_path / "data", 3)
    (data / "labelsTr" / "phantom_001.nii.gz").write_bytes(b"broken")
    settings = make_settings({"data": str(data), **phantom_settings}, "test")
    with pytest.raises(InputError, match="phantom_001"):
        train(settings, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_last_epoch_is_validated_and_learning_shows(tmp_path, make_phantoms, phantom_settings):
    data = make_phantoms(tmp_path / "data", 6)
    values = phantom_settings | {
        "epochs": 5,
        "epoch_steps": 12,
        "validate_every": 3,
        "learning_rate": 0.01,
        "augment": False,
    }
    metrics = train(make_settings({"data": str(data), **values}, "test"), tmp_path / "run")
    with (tmp_path / "run" / "metrics.csv").open() as stream:
        scored = [row["epoch"] for row in csv.DictReader(stream) if row["val_dice"]]
    assert scored == ["2", "4"]
    assert metrics["best_validation_dice"] > 0.5


def test_patients_stay_together(tmp_path):
    cases = tuple(Case(f"p{n // 2}_{n % 2}", (), None) for n in range(12))
    folder = Folder(tmp_path, {0: "b", 1: "f"}, {0: "CT"}, cases)
    settings = make_settings({"data": "d", "patient": "^p[0-9]+", "folds": 3}, "test")
    training, validation = split_cases(settings, folder)
    assert not {name[:2] for name in training} & {name[:2] for name in validation}
    assert len(validation) == 4
    lost = make_settings({"data": "d", "patient": "^q", "folds": 3}, "test")
    with pytest.raises(UsageError, match="matches nothing in the case 'p0_0'"):
        split_cases(lost, folder)


def test_resume_of_a_finished_run_scores_it_again(phantom_run):
    before = json.loads((phantom_run / "metrics.json").read_text(encoding="utf-8"))
    assert resume(phantom_run)["scores"] == before["scores"]


def test_damaged_checkpoints_are_one_line(tmp_path):
    path = tmp_path / "last.ckpt"
    with pytest.raises(InputError, match="no such checkpoint"):
        read_checkpoint(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="not a checkpoint that can be read") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    torch.save({"weights": torch.ones(1)}, path)
    with pytest.raises(InputError, match="not a checkpoint of a training run"):
        read_checkpoint(path)


@pytest.mark.parametrize("fusion", ["alignshift", "a3d"])
def test_operators_that_ask_for_thickness_or_depth_train(
    tmp_path, make_phantoms, phantom_settings, fusion
):
    data = make_phantoms(tmp_path / "data", 3)
    values = phantom_settings | {"data": str(data), "fusion": fusion, "epochs": 1}
    train(make_settings(values, "test"), tmp_path / "run")
    scan = next((data / "imagesTr").glob("*.nii.gz"))
    image = read_volume(scan)
    segment = load_segmenter(tmp_path / "run")
    seen = []
    segment.net.register_forward_pre_hook(
        lambda net, args, kwargs: seen.append((args[0].shape[2], kwargs)), with_kwargs=True
    )
    assert segment(image).shape == image.shape
    assert {depth for depth, _ in seen} == {8}
    asked = [kwargs["thickness"].unique().item() for _, kwargs in seen if kwargs]
    expected = [image.spacing[0]] * len(seen) if fusion == "alignshift" else []
    assert asked == pytest.approx(expected)


def test_training_hears_each_scans_own_thickness(phantom_run):
    run = read_run(phantom_run)
    image, label = torch.rand(1, 9, 16, 16), torch.zeros(1, 9, 16, 16, dtype=torch.long)
    scans = [Prepared(str(t), image, label, (t, 1.0, 1.0)) for t in (1.5, 4.0)]
    data = SegmentData(scans, scans, run.settings, run.plan)
    batch = next(iter(data.train_dataloader()))
    assert sorted(batch["thickness"].tolist()) == [1.5, 4.0]
    assert [whole["thickness"] for whole in data.val_dataloader()] == [1.5, 4.0]


def test_merged_labels_are_learnt_and_scored(make_phantoms, phantom_settings, tmp_path):
    """Both classes of the phantoms as one: predictions and truth hold the same class 1."""
    data = make_phantoms(tmp_path / "data", 6)
    told = {"data": str(data), **phantom_settings, "epochs": 1, "labels": {"thing": [1, 2]}}
    metrics = train(make_settings(told, "test"), tmp_path / "run")
    assert set(metrics["scores"]) == {"thing", "mean"}
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["labels"] == {"0": "background", "1": "thing"}
    truth = evaluate(data / "labelsTr", data, tmp_path / "all")
    assert set(truth.labels) == {1, 2}
    mine = tmp_path / "mine"
    mine.mkdir()
    held_out = json.loads((tmp_path / "run" / "split.json").read_text())["validation"]
    for name in held_out:
        volume = read_labels(data / "labelsTr" / f"{name}.nii.gz")
        write_labels(mine / f"{name}.nii.gz", (volume.array[0] > 0).long(), volume.affine)
    assert evaluate(mine, tmp_path / "run").global_dice == {1: 1.0}


def test_regions_are_scored_besides_the_classes(make_phantoms, phantom_settings, tmp_path):
    data = make_phantoms(tmp_path / "data", 6)
    told = {"data": str(data), **phantom_settings, "epochs": 1}
    regions = {"both": ["bright", "dark"]}
    metrics = train(make_settings(told | {"regions": regions}, "test"), tmp_path / "run")
    assert set(metrics["scores"]) == {"bright", "dark", "both", "mean"}
    shared = total = 0
    for name in json.loads((tmp_path / "run" / "split.json").read_text())["validation"]:
        found = read_labels(tmp_path / "run" / "validation" / f"{name}.nii.gz").array > 0
        truth = read_labels(data / "labelsTr" / f"{name}.nii.gz").array > 0
        shared += int((found & truth).sum())
        total += int(found.sum()) + int(truth.sum())
    assert metrics["scores"]["both"]["dice_global"] == pytest.approx(2 * shared / total)


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ({"both": ["brigth"]}, "no class 'brigth'; did you mean 'bright'"),
        ({"dark": ["bright"]}, "expected a new name"),
        ({"a,b": ["bright"]}, "expected a new name"),
        ({"none": []}, "at least one class"),
    ],
)
def test_regions_of_no_class_are_refused_before_training(
    regions, said, make_phantoms, phantom_settings, tmp_path
):
    data = make_phantoms(tmp_path / "data", 3)
    told = {"data": str(data), **phantom_settings, "regions": regions}
    with pytest.raises(UsageError, match=said):
        train(make_settings(told, "test"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_windows_overlap_and_spacing_by_axis(make_phantoms, phantom_settings, tmp_path):
    """As the liver recipes: depth alone is resampled, windows are larger than patches."""
    data = make_phantoms(tmp_path / "data", 6)
    told = {
        "data": str(data),
        **phantom_settings,
        "epochs": 1,
        "spacing": "2,own,own",
        "predict_patch": [8, 24, 24],
        "overlap": [0.5, 0, 0.25],
    }
    train(make_settings(told, "test"), tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.plan.spacing == (2.0, None, None) and run.plan.window == (8, 24, 24)
    assert run.plan.patch == (8, 16, 16)
    segmenter = load_segmenter(tmp_path / "run")
    sizes = []
    segmenter.net.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[2:]))
    scan = read_volume(data / "imagesTr" / "phantom_000.nii.gz")
    assert segmenter(scan).shape == scan.shape
    assert set(sizes) == {(8, 24, 24)}
    seen = preprocessing(run.settings, run.plan).image(scan)
    turned = to_grid(scan)
    assert seen.spacing == pytest.approx((2.0, *turned.spacing[1:]))
    assert seen.shape[1:] == turned.shape[1:]
