import csv
import json

import nibabel
import numpy as np
import pytest
import torch

from thirdaxis.errors import UsageError
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.classify import predict
from thirdaxis.tasks.model import Model, load_model, save_model
from thirdaxis.tasks.settings_files import make_settings
from thirdaxis.tasks.trained.bundle import INFERENCE, METADATA, bundle_files
from thirdaxis.tasks.trained.files import write_model_files
from thirdaxis.tasks.trained.networks import NETWORKS

MASKS = {
    **{"around": "mask", "mask_column": "mask", "size": [8, 16, 16], "spacing": [2, 1, 1]},
    **{"intensity": "window", "window": [0, 200], "jitter": 2},
}
CENTRES = {
    **{"around": "centre", "centre_columns": "x,y,z", "size": [6, 12, 12], "jitter": 1},
    **{"kind": "grade", "spacing_columns": "sx,sy,sz", "intensity": "bytes"},
}
WHOLE = {"around": "whole", "size": [8, 16, 16], "kind": "labels", "label_columns": "round,large"}
MIDDLE = {"around": "middle", "size_mm": [12, 14, 14], "spacing": [2, 1, 1], "fusion": "alignshift"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Five scans of noise with a bright ball each."""
    root = tmp_path_factory.mktemp("balls")
    (root / "scans").mkdir()
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (22, 20, 12)), indexing="ij"), -1)
    rows = ["file,mask,x,y,z,sx,sy,sz,label"]
    for number in range(5):
        centre = random.uniform((8, 8, 5), (14, 12, 7))
        ball = ((((grid - centre) / (3 + number, 3, 2)) ** 2).sum(-1) < 1).astype(np.uint8)
        image = random.normal(100, 10, ball.shape) + 80.0 * ball
        affine = np.diag([-1.0, 1.0, 2.0, 1.0])
        files = [f"scans/{number}.nii.gz", f"mask-{number}.nii.gz"]
        for array, file in zip((image.astype(np.float32), ball), files, strict=True):
            nibabel.save(nibabel.Nifti1Image(array, affine), root / file)
        place = [f"{value:.2f}" for value in affine[:3, :3] @ centre]
        rows.append(",".join([*files, *place, "1", "1", "2", str(number % 2)]))
    (root / "table.csv").write_text("\n".join(rows))
    return root / "table.csv"


def model_of(table, **told):
    """An untrained network, and all that belongs to it."""
    common = {"task": "classify", "data": str(table), "network": "timm:test_resnet"}
    settings = make_settings(common | {"accelerator": "cpu", "patient_column": None} | told, "test")
    grade = settings.kind == "grade"
    names = ("label",) if grade else ("one", "two")
    size = settings.size or tuple(
        round(a / b) for a, b in zip(settings.size_mm, settings.spacing, strict=True)
    )
    plan = ClassifyPlan(settings.kind, names, (1,) * len(names), 1, size, 3.0, 2.0)
    net = NETWORKS["classify"](settings, plan, load=False).net.eval()
    with torch.no_grad():  # the start's last layer hardly tells samples apart
        next(p for p in reversed(list(net.parameters())) if p.ndim == 2).mul_(30)
    return Model(net, settings, plan, {})


def read(folder):
    with (folder / "predictions.csv").open(newline="") as stream:
        return {name: [float(value) for value in values] for name, *values in csv.reader(stream)}


@pytest.mark.parametrize("told", [MASKS, CENTRES, WHOLE, MIDDLE], ids=lambda told: told["around"])
def test_monai_says_what_thirdaxis_says(table, run_bundle, tmp_path, told):
    model = model_of(table, **told)
    write_model_files(tmp_path / "bundle", bundle_files(model))
    save_model(model, tmp_path / "model")
    inputs = table.parent / "scans" if told["around"] in ("whole", "middle") else table
    own = predict(tmp_path / "model", inputs, tmp_path / "own.csv")
    found = read(run_bundle(tmp_path / "bundle", inputs))
    assert list(found) == list(own.samples) and len(found) == 5
    answers = own.answers.reshape(5, -1)
    np.testing.assert_allclose(list(found.values()), answers, atol=1e-5)
    assert answers.std(0).min() > 1e-3  # else any preprocessing would do
    about = json.loads((tmp_path / "bundle" / METADATA).read_text(encoding="utf-8"))
    names = about["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert tuple(names.values()) == model.plan.names
    assert load_model(tmp_path / "bundle").plan == model.plan


def test_another_box_would_be_seen(table, run_bundle, tmp_path):
    model = model_of(table, **MASKS)
    write_model_files(tmp_path, bundle_files(model))
    config = json.loads((tmp_path / INFERENCE).read_text(encoding="utf-8"))
    config["preprocessing"]["transforms"][0]["around"] = "middle"
    (tmp_path / INFERENCE).write_text(json.dumps(config))
    found = read(run_bundle(tmp_path, table))
    save_model(model, tmp_path / "model")
    own = predict(tmp_path / "model", table, tmp_path / "own.csv")
    assert not np.allclose(list(found.values()), own.answers, atol=1e-3)


def test_arrays_of_medmnist_are_refused(table):
    model = model_of(table, **WHOLE)
    told = model.settings.model_copy(update={"data": "adrenal.npz"})
    with pytest.raises(UsageError, match="reads its arrays, no scans"):
        bundle_files(Model(model.net, told, model.plan, {}))
