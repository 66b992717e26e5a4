"""A trained model as a MONAI bundle: the model folder, and configurations that run it by MONAI."""

import io
import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import thirdaxis
from thirdaxis.errors import UsageError
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.model import Model, model_files, plain_network
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.settings import SegmentSettings
from thirdaxis.tasks.trained import bundle_classify, bundle_segment
from thirdaxis.tasks.trained.files import CARD, INNER

METADATA, INFERENCE = "configs/metadata.json", "configs/inference.json"
SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
# What MONAI's bundles need beyond what the extra `scans` brings.
RUNS_BY = ("thirdaxis", "nibabel", "pytorch-ignite", "safetensors", "scikit-image")


def bundle_files(model: Model) -> dict[str, bytes]:
    """The content of each file of a MONAI bundle.

    `python -m monai.bundle run --config_file configs/inference.json --dataset_dir SCANS` in it
    writes what `thirdaxis predict` does. Label maps come from MONAI's own transforms and windows;
    only a model that resamples takes the grid from `thirdaxis.data.grid_transform`, and voxels
    between two classes of equal probability, to rounding, may differ. A classifier takes its boxes
    from `thirdaxis.tasks.classification.read_box` and writes a table; where it looks around masks
    or centres, `--dataset_dir` is the table that names them.

    Args:
        model: trained to segment or to classify.

    Returns:
        Place below the bundle's folder -> content; the first place is the sign of a bundle.

    Raises:
        UsageError: a model of another task, of a thickness of slices that differs by scan, or of
            data that MONAI does not read.
    """
    settings, plan = model.settings, model.plan
    if isinstance(settings, SegmentSettings) and isinstance(plan, Plan):
        told = bundle_segment.task_of(plan), bundle_segment.formats(plan)
        inference = bundle_segment.inference(settings, plan)
    elif isinstance(settings, ClassifySettings) and isinstance(plan, ClassifyPlan):
        told = bundle_classify.task_of(plan), bundle_classify.formats(plan)
        inference = bundle_classify.inference(settings, plan)
    else:
        raise UsageError(
            f"a model trained to {settings.task} cannot be packed as a MONAI bundle, only one "
            "trained to segment or to classify"
        )
    state = io.BytesIO()
    torch.save(plain_network(model).state_dict(), state)
    inner = model_files(model)
    licence = model.provenance.get("licence")
    texts = {
        METADATA: json.dumps(_metadata(model, *told), indent=2),
        INFERENCE: json.dumps(inference, indent=2),
        "docs/README.md": inner[CARD].decode(),
        "LICENSE": f"Licence of the trained weights: {licence or 'not stated; ask their makers'}",
    }
    return {
        **{place: f"{text.rstrip()}\n".encode() for place, text in texts.items()},
        **{f"{INNER}/{place}": content for place, content in inner.items()},
        # The specification asks for it; thirdaxis never reads it.
        f"{INNER}/model.pt": state.getvalue(),
    }


def _metadata(model: Model, task: str, formats: dict[str, Any]) -> dict[str, Any]:
    origin = model.provenance
    data = origin.get("training_data", {})
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"trained, {origin.get('made', 'on a day not told')}"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {name: _version(name) for name in RUNS_BY},
        "optional_packages_version": {},
        "name": task,
        "task": task,
        "description": f"{model.settings.network} converted to volumes with "
        f"{model.settings.fusion} by thirdaxis, trained on {data.get('name', 'data not told')}",
        "authors": "not stated",
        "copyright": f"licence of the weights: {origin.get('licence', 'not stated')}",
        "data_source": data.get("reference", data.get("name", "not told")),
        "eval_metrics": origin.get("metrics", {}).get("scores", {}),
        "intended_use": "Research, not diagnosis",
        "network_data_format": formats,
    }


def _version(package: str) -> str:
    if package == "thirdaxis":
        return thirdaxis.__version__
    try:
        return version(package)
    except PackageNotFoundError:
        return "any"
