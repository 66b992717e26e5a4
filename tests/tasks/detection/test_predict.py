import csv
import json

import nibabel
import numpy as np
import pytest
import torch

from thirdaxis.data.lesions.detections import read_detections
from thirdaxis.errors import InputError, UsageError
from thirdaxis.nets.lesion.detector import make_detector
from thirdaxis.tasks.detection.link import Linking
from thirdaxis.tasks.detection.network import detector_settings
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.predict import predict
from thirdaxis.tasks.detection.slab import Looking
from thirdaxis.tasks.model import Model
from thirdaxis.tasks.settings_files import make_settings

LOW = Linking(score=0.0, member=0.0)


@pytest.fixture(scope="module")
def model(small_detector) -> Model:
    settings = make_settings(small_detector | {"data": "gone", "masks": False}, "test")
    plan = DetectPlan.of(settings)
    torch.manual_seed(0)
    return Model(make_detector(detector_settings(settings, plan)).eval(), settings, plan, {})


def write_scan(path, slices=6, seed=0):
    image = np.random.default_rng(seed).normal(-300, 400, (50, 40, slices)).astype(np.float32)
    affine = np.diag([-0.8, 0.8, 2.5, 1.0])
    nibabel.save(nibabel.Nifti1Image(image, affine), path)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    write_scan(folder / "one.nii.gz")
    write_scan(folder / "two.nii.gz", 4, 1)
    (folder / "bad.nii.gz").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="module")
def done(model, scans, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "lesions"
    return predict(model, scans, out, linking=LOW, pictures=2), out


def test_each_scan_gets_its_lesions_boxes_and_pictures(done):
    told, out = done
    assert set(told.written) == {"one", "two"} and set(told.failed) == {"bad"}
    assert "bad.nii.gz" in told.failed["bad"]
    files = {path.name for path in (out / "one").iterdir()}
    pictures = {"lesion-01.png", "lesion-02.png"}
    assert files == {"lesions.csv", "lesions.json", "detections.json"} | pictures
    assert not (out / "bad").exists()
    boxes = read_detections(out / "one" / "detections.json")
    assert list(boxes) == [f"one/{number:03d}" for number in range(6)]
    every = read_detections(out / "detections.json")
    assert set(every) == set(boxes) | {f"two/{number:03d}" for number in range(4)}
    plain = json.loads((out / "one" / "lesions.json").read_text(encoding="utf-8"))
    assert plain["turned_shape"] == [6, 40, 50] and plain["linking"]["score"] == 0
    assert plain["margin_pixels"] == pytest.approx(5 * 50 / 512, abs=1e-3)
    with (out / "lesions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(told.written["one"]) + len(told.written["two"]) > 2
    first, lesion = plain["lesions"][0], told.written["one"][0]
    row = rows[0]
    assert row["scan"] == "one" and float(row["score"]) == pytest.approx(lesion.score, abs=1e-6)
    assert [int(row["k_first"]), int(row["k_last"])] == first["voxels"]["k"]
    assert float(row["lps_x_mm"]) == first["centre_lps_mm"][0] == -first["centre_ras_mm"][0]
    key = boxes[f"one/{lesion.key_slice:03d}"]
    assert torch.isclose(key.boxes, torch.tensor(lesion.key_box), atol=0.01).all(1).any()


def test_what_is_done_is_skipped_and_what_is_broken_is_done_again(model, scans, done, tmp_path):
    _, out = done
    told = []
    again = predict(model, scans, out, linking=LOW, say=told.append)
    assert again.finished == ["one", "two"] and not again.written and "--overwrite" in told[0]
    (out / "two" / "detections.json").write_text("{", encoding="utf-8")
    mended = predict(model, scans, out, linking=LOW, pictures=1)
    assert list(mended.written) == ["two"] and mended.finished == ["one"]
    assert [path.name for path in (out / "two").glob("*.png")] == ["lesion-01.png"]
    read_detections(out / "two" / "detections.json")
    forced = predict(model, scans / "one.nii.gz", out, linking=LOW, overwrite=True, pictures=0)
    assert list(forced.written) == ["one"] and not list((out / "one").glob("*.png"))


def test_a_scan_without_a_lesion_is_a_result(model, scans, tmp_path):
    told = predict(model, scans / "one.nii.gz", tmp_path / "out", linking=Linking(score=1.0))
    assert told.written == {"one": []}
    plain = json.loads((tmp_path / "out" / "one" / "lesions.json").read_text(encoding="utf-8"))
    assert plain["lesions"] == []
    assert predict(model, scans / "one.nii.gz", tmp_path / "out").finished == ["one"]


def test_faults_are_told(model, scans, tmp_path, small_detector):
    with pytest.raises(InputError, match=r"bad\.nii\.gz"):
        predict(model, scans / "bad.nii.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="is a file"):
        predict(model, scans, scans / "one.nii.gz")
    with pytest.raises(UsageError, match="margin"):
        predict(model, scans, tmp_path / "out", margin=-1)
    told = small_detector | {"data": "gone", "masks": False, "fusion": "a3d"}
    settings = make_settings(told, "test")
    plan = DetectPlan.of(settings)
    fixed = Model(make_detector(detector_settings(settings, plan)).eval(), settings, plan, {})
    with pytest.raises(UsageError, match="made for exactly 3"):
        predict(fixed, scans, tmp_path / "out", Looking("slab"))
    classifier = make_settings({"task": "classify", "data": "x", "network": "unet"}, "test")
    with pytest.raises(InputError, match="was trained to classify"):
        predict(Model(torch.nn.Identity(), classifier, plan, {}), scans, tmp_path / "out")
