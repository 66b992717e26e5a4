import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import verify_metadata

from thirdaxis.cli.main import run
from thirdaxis.errors import UsageError
from thirdaxis.tasks.model import load_model, load_network, save_model
from thirdaxis.tasks.segment import predict
from thirdaxis.tasks.trained.bundle import INFERENCE, METADATA, bundle_files
from thirdaxis.tasks.trained.files import write_model_files

# What MONAI's schema of a bundle's metadata asks for, in short.
REQUIRED = (
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task"),
    *("required_packages_version", "optional_packages_version", "description", "authors"),
    *("copyright", "network_data_format"),
)
TENSOR = ("type", "format", "num_channels", "spatial_shape", "dtype", "value_range")
WINDOWS = {"intensity": "window", "window": (60.0, 200.0)}


@pytest.fixture(scope="module")
def scans(phantom_run):
    return phantom_run.parent / "data" / "imagesTr"


def arrays(paths):
    return [np.asarray(nibabel.load(path).dataobj) for path in paths]


@pytest.mark.parametrize(
    ("settings", "plan"),
    [
        ({}, {}),
        ({"intensity": "percentiles", "largest_component": True}, {"spacing": (None, 1.1, 1.3)}),
        (
            {**WINDOWS, "overlap": (0.0, 0.5, 0.25)},
            {"spacing": (2.0, 1.1, 1.3), "window": (16, 24, 12)},
        ),
    ],
)
def test_monai_predicts_what_thirdaxis_predicts(
    phantom_run, scans, run_bundle, tmp_path, settings, plan
):
    model = load_model(phantom_run)
    told = model.settings.model_copy(update=settings)
    model = replace(model, settings=told, plan=replace(model.plan, **plan))
    save_model(model, tmp_path / "model")
    write_model_files(tmp_path / "bundle", bundle_files(model))
    own = predict(tmp_path / "model", scans, tmp_path / "own").written.values()
    found = sorted(run_bundle(tmp_path / "bundle", scans).iterdir())
    assert [path.name for path in found] == [path.name for path in own]
    for a, b in zip(own, found, strict=True):
        assert np.array_equal(*arrays([a, b]))
        np.testing.assert_allclose(nibabel.load(a).affine, nibabel.load(b).affine, atol=1e-5)


def test_another_preprocessing_would_be_seen(phantom_run, scans, run_bundle, tmp_path):
    write_model_files(tmp_path, bundle_files(load_model(phantom_run)))
    config = json.loads((tmp_path / INFERENCE).read_text(encoding="utf-8"))
    (turn,) = (t for t in config["preprocessing"]["transforms"] if t["_target_"] == "Orientationd")
    turn["axcodes"] = "RAS"
    (tmp_path / INFERENCE).write_text(json.dumps(config))
    own = predict(phantom_run, scans, tmp_path / "own").written.values()
    found = sorted(run_bundle(tmp_path, scans).iterdir())
    assert not all(np.array_equal(*arrays(pair)) for pair in zip(own, found, strict=True))


@pytest.fixture(scope="module")
def bundle(phantom_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "kidney"
    assert run(["pack", str(phantom_run), "--as", "monai", "--out", str(folder)]) == 0
    return folder


def test_a_bundle_has_the_files_and_facts_that_monai_asks_for(bundle, tmp_path):
    tensor = {"type": "object", "required": list(TENSOR)}
    sides = {
        "type": "object",
        "properties": {side: {"additionalProperties": tensor} for side in ("inputs", "outputs")},
        "required": ["inputs", "outputs"],
    }
    schema = {
        "type": "object",
        "required": list(REQUIRED),
        "properties": {"network_data_format": sides},
    }
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    verify_metadata(str(bundle / METADATA), filepath=str(tmp_path / "schema.json"))
    schema["required"].append("horoscope")  # the check does look
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(str(bundle / METADATA), filepath=str(tmp_path / "schema.json"))
    about = json.loads((bundle / METADATA).read_text(encoding="utf-8"))["network_data_format"]
    assert about["outputs"]["pred"]["channel_def"] == {
        "0": "background",
        "1": "bright",
        "2": "dark",
    }
    assert about["inputs"]["image"]["spatial_shape"] == [8, 16, 16]
    for place in ("LICENSE", "docs/README.md", "models/config.json", "models/model.safetensors"):
        assert (bundle / place).stat().st_size > 0


def test_the_state_that_the_specification_asks_for_is_the_networks(bundle):
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    net = load_network(bundle)
    assert set(state) == set(net.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_what_monai_cannot_run_is_refused(phantom_run):
    model = load_model(phantom_run)
    told = model.settings.model_copy(update={"loss_rim": 1})
    with pytest.raises(UsageError, match="trained with loss_rim"):
        bundle_files(replace(model, settings=told))
    told = model.settings.model_copy(update={"task": "locate"})
    with pytest.raises(UsageError, match="only one trained to segment or to classify"):
        bundle_files(replace(model, settings=told, plan=object()))
