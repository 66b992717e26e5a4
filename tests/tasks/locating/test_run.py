"""A whole run: what it leaves, that it goes on where it was broken, its verbs, bad data."""

import csv
import json
import shutil

import nibabel
import numpy as np
import pytest
import torch

from thirdaxis.cli.main import run as command
from thirdaxis.data.lesions.points import read_points
from thirdaxis.data.lesions.volumes import read_boxed_volumes
from thirdaxis.data.volume import read_volume
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks import runs
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.locate import load_locator
from thirdaxis.tasks.settings_files import make_settings


def settings(told, data, **values):
    return make_settings({**told, "data": str(data), **values}, "test")


def numbers(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def test_a_run_leaves_what_it_was_and_what_it_found(blob_run):
    files = {p.relative_to(blob_run).as_posix() for p in blob_run.rglob("*") if p.is_file()}
    assert files >= {
        *("settings.yaml", "plan.json", "split.json", "metrics.csv", "metrics.json", "best.ckpt"),
        *("points.csv", "points.json", "scores.json", "scores.csv", "scores.html", "report.html"),
        *("pictures/froc.png", "pictures/projections-worst.png", "model/model.safetensors"),
    }
    split = json.loads((blob_run / "split.json").read_text(encoding="utf-8"))
    assert [len(split[part]) for part in ("training", "validation", "test")] == [4, 2, 2]
    patients = [{int(n[-1]) // 2 for n in names} for names in split.values()]
    assert sum(map(len, patients)) == len(set.union(*patients))  # no patient in two parts
    told = numbers(blob_run)
    assert told["steps"] == 4 and told["test_volumes"] == 2
    assert set(told["scores"]) == set(told["intervals"]) >= {"froc", "sensitivity_0.01"}
    with (blob_run / "metrics.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert max(float(row["val_froc"]) for row in rows) == told["validation_froc"]
    page = (blob_run / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") >= 4


def test_the_points_are_the_peaks_of_the_best_network_s_heat_maps(blob_run):
    volumes = read_boxed_volumes(blob_run.parent / "data", blob_run.parent / "data" / "boxes.csv")
    written, _ = read_points(blob_run / "points.csv", volumes)
    locator = load_locator(blob_run / "model")
    names = json.loads((blob_run / "split.json").read_text(encoding="utf-8"))["test"]
    assert set(written) <= set(names)
    for volume in volumes:
        if volume.name not in names:
            continue
        heat = locator.heat(read_volume(volume.file))
        found = locator.points(heat)
        np.testing.assert_allclose(written[volume.name].places, found.places, atol=1e-3)
        values = [heat.array[(0, *map(int, place))].item() for place in found.places]
        np.testing.assert_allclose(written[volume.name].scores, values, atol=1e-5)


def test_a_broken_run_goes_on_to_the_same_end(blob_run, blob_settings, tmp_path):
    told = []

    def say(line):
        told.append(line)
        if line.startswith("epoch 2/"):
            raise KeyboardInterrupt

    broken = tmp_path / "broken"
    data = blob_run.parent / "data"
    with pytest.raises(KeyboardInterrupt):
        runs.train(settings(blob_settings, data), broken, Display(say=say))
    assert read_checkpoint(broken / "last.ckpt")["epoch"] == 0
    assert ["focal loss" in line for line in told] == [False, True]
    runs.resume(broken)
    for name in ("last.ckpt", "best.ckpt"):
        one, other = (read_checkpoint(folder / name) for folder in (blob_run, broken))
        assert one["epoch"] == other["epoch"]
        for key, value in one["state_dict"].items():
            assert torch.equal(value, other["state_dict"][key]), key
    assert numbers(blob_run)["scores"] == numbers(broken)["scores"]


def test_another_form_of_run(blob_run, blob_settings, tmp_path):
    """Kept volumes, another spacing, averaged weights, no part to choose by, a start from a run."""
    values = {"cache": str(tmp_path / "cache"), "spacing": [2, 1.5, 1.5], "ema": 0.5}
    values |= {"selection": 0, "epochs": 1, "epoch_steps": 1, "weights": str(blob_run)}
    values |= {"patient": "[0-9]", "focal_from": None, "precision": "bf16-mixed", "joined": "max"}
    out = tmp_path / "run"
    told = runs.train(settings(blob_settings, blob_run.parent / "data", **values), out)
    assert told["validation_volumes"] == 0 and told["validation_froc"] is None
    assert len(list((tmp_path / "cache").glob("*.image.npy"))) == told["training_volumes"] == 6
    assert runs.report(out).is_file()


def test_predict_writes_points_boxes_and_the_heat_map_where_they_are(blob_run, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "found"
    data.mkdir()
    for number in (3, 6):
        shutil.copy(blob_run.parent / "data" / f"blob_{number}.nii.gz", data)
    words = ["--heat-map", "--picture", "--score", "-5"]
    assert command(["predict", str(blob_run), str(data), "-o", str(out), *words]) == 0
    assert len(list(out.glob("blob_*/points.json"))) == 2
    with (out / "blob_3" / "points.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    heat = nibabel.load(out / "blob_3" / "heat.nii.gz")
    scan = nibabel.load(data / "blob_3.nii.gz")
    assert heat.shape == scan.shape
    np.testing.assert_allclose(heat.affine, scan.affine, atol=1e-5)
    values = np.asarray(heat.dataobj)
    assert rows
    for row in rows:
        place = [float(row[axis]) for axis in "xyz"]
        assert float(row["score"]) == pytest.approx(values[tuple(map(int, place))], abs=1e-5)
        mm = (scan.affine @ [*place, 1])[:3]
        np.testing.assert_allclose([float(row[f"{a}_mm"]) for a in "xyz"], mm, atol=2e-3)
        np.testing.assert_allclose(
            [float(row[f"{a}_lps_mm"]) for a in "xyz"], mm * [-1, -1, 1], atol=2e-3
        )
        assert all(
            float(row[f"{a}1"]) < p < float(row[f"{a}2"]) for a, p in zip("xyz", place, strict=True)
        )
    assert float(rows[0]["score"]) == max(float(row["score"]) for row in rows)
    capsys.readouterr()
    assert command(["predict", str(blob_run), str(data), "-o", str(out)]) == 0
    assert capsys.readouterr().out.count("is there already") == 2
    assert command(["predict", str(blob_run), str(data), "-o", str(out), "--mode", "slab"]) == 2
    assert "--mode is for networks trained to detect" in capsys.readouterr().err


def test_evaluate_scores_points_of_any_tool(blob_run, tmp_path, capsys):
    data = blob_run.parent / "data"
    rows = read_boxed_volumes(data, data / "boxes.csv")
    table = tmp_path / "perfect.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "score", "x_lps_mm", "y_lps_mm", "z_lps_mm"))
        for volume in rows:
            mm = torch.linalg.inv(volume.grid.from_mm).numpy()
            for box in volume.boxes:
                x, y, z = (mm @ [*((box[:3] + box[3:]) / 2), 1])[:3]
                writer.writerow((f"{volume.name}.nii.gz", 0.9, -x, -y, z))
    out = ["-o", str(tmp_path / "scores"), "--pictures", "1"]
    for truth in ([str(data / "boxes.csv")], [str(data), "--boxes", str(data / "boxes.csv")]):
        assert command(["evaluate", str(table), *truth, *out]) == 0
        told = json.loads((tmp_path / "scores" / "scores.json").read_text(encoding="utf-8"))
        assert told["scores"]["sensitivity_0.01"] == told["scores"]["froc"] == 1
        assert (told["volumes_searched"], told["lesions"]) == (8, 8)
    points = str(blob_run / "points.json")
    assert command(["evaluate", points, str(blob_run), *out, "--against", points]) == 0
    told = json.loads((tmp_path / "scores" / "scores.json").read_text(encoding="utf-8"))
    assert told["scores"] == numbers(blob_run)["scores"]
    assert told["difference"]["mean"] == 0
    capsys.readouterr()
    assert command(["evaluate", str(table), str(blob_run), *out]) == 1
    assert "no volume 'blob_" in capsys.readouterr().err
    assert command(["evaluate", str(table), str(blob_run), *out, "--others", "drop"]) == 0
    assert command(["evaluate", str(table), str(data), *out]) == 1
    assert "name their boxes or label maps by --boxes" in capsys.readouterr().err


def without_lesions(data, names):
    """Takes the boxes out of the rows of volumes."""
    with (data / "boxes.csv").open(encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    kept = [row if row[0] not in names else [*row[:2], *[""] * 6] for row in rows]
    with (data / "boxes.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([head, *kept])


@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_a_part_without_any_lesion_is_refused(blob_run, blob_settings, tmp_path, part):
    data = shutil.copytree(blob_run.parent / "data", tmp_path / "data")
    names = json.loads((blob_run / "split.json").read_text(encoding="utf-8"))[part]
    without_lesions(data, {f"{name}.nii.gz" for name in names})
    what = "to choose the best epoch by has a" if part == "validation" else f"{part} volumes has a"
    with pytest.raises(InputError, match=f"none of the {len(names)} .*{what} lesion"):
        runs.train(settings(blob_settings, data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nothing_to_score_against_is_refused(blob_run, tmp_path, capsys):
    data = shutil.copytree(blob_run.parent / "data", tmp_path / "data")
    without_lesions(data, {f"blob_{number}.nii.gz" for number in range(8)})
    words = ["evaluate", str(blob_run / "points.csv"), str(data / "boxes.csv")]
    assert command([*words, "-o", str(tmp_path / "out")]) == 1
    assert "none of its 8 volumes has a lesion to score against" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ({"boxes": "bxes.csv"}, InputError, "bxes.csv: no such table of boxes"),
        ({"data": "none"}, InputError, "none: no such folder of scans"),
        ({"window": [5, 5], "intensity": "window"}, UsageError, "needs its lower end first"),
        ({"patch": [3, 8, 8], "loss_rim": 2}, UsageError, "needs a patch of 5 slices"),
        ({"patient": "x+"}, UsageError, "matches nothing"),
        ({"folds": 9}, UsageError, "9 folds need as many patients"),
    ],
)
def test_what_cannot_be_trained_is_told_and_nothing_left(
    blob_run, blob_settings, tmp_path, values, kind, said
):
    told = {**blob_settings, "data": str(blob_run.parent / "data"), **values}
    with pytest.raises(kind, match=said):
        runs.train(make_settings(told, "test"), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_volumes_of_one_slice_train_and_are_searched(blob_settings, tmp_path):
    random = np.random.default_rng(0)
    rows = ["file,x1,y1,z,x2,y2"]
    for number in range(4):
        array = random.normal(0, 1, (16, 14, 1)).astype(np.float32)
        array[4:8, 5:9] += 9
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / f"{number}.nii.gz")
        rows.append(f"{number}.nii.gz,3.5,4.5,0,7.5,8.5")
    (tmp_path / "boxes.csv").write_text("\n".join(rows), encoding="utf-8")
    values = {"patch": [1, 8, 8], "epochs": 1, "epoch_steps": 1, "selection": 0}
    told = runs.train(settings(blob_settings, tmp_path, **values), tmp_path / "run")
    assert told["test_volumes"] == 1


def test_the_default_network_brings_its_own_operator_and_stem():
    told = make_settings({"task": "locate", "data": "d", "boxes": "b.csv"}, "test")
    assert (told.network, told.fusion, told.stem) == ("ahnet:resnet50", "slicewise", "depth")
