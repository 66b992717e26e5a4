"""A trained model as a MONAI bundle: the model folder, and configurations that run it by MONAI."""

import io
import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import thirdaxis
from thirdaxis.data.intensity import Percentiles, Window, ZScore
from thirdaxis.errors import UsageError
from thirdaxis.tasks.model import Model, model_files, plain_network
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.preprocess import preprocessing
from thirdaxis.tasks.segmentation.settings import SegmentSettings
from thirdaxis.tasks.trained.files import CARD, INNER

METADATA, INFERENCE = "configs/metadata.json", "configs/inference.json"
SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
# What MONAI's bundles need beyond what the extra `scans` brings.
RUNS_BY = ("thirdaxis", "nibabel", "pytorch-ignite", "safetensors", "scikit-image")
AXIS_NAMES = [["L", "R"], ["P", "A"], ["I", "S"]]
Transform = dict[str, Any]


def bundle_files(model: Model) -> dict[str, bytes]:
    """The content of each file of a MONAI bundle.

    `python -m monai.bundle run --config_file configs/inference.json --dataset_dir SCANS` in it
    writes the label maps of `thirdaxis predict` by MONAI's own transforms and windows; only a model
    that resamples takes the grid from `thirdaxis.data.grid_transform`. Voxels between two classes
    of equal probability, to rounding, may differ.

    Args:
        model: trained to segment.

    Returns:
        Place below the bundle's folder -> content; the first place is the sign of a bundle.

    Raises:
        UsageError: a model of another task, or of a thickness of slices that differs by scan.
    """
    settings, plan = model.settings, model.plan
    if not isinstance(settings, SegmentSettings) or not isinstance(plan, Plan):
        raise UsageError(
            f"a model trained to {settings.task} cannot be packed as a MONAI bundle, only one "
            "trained to segment"
        )
    state = io.BytesIO()
    torch.save(plain_network(model).state_dict(), state)
    inner = model_files(model)
    licence = model.provenance.get("licence")
    texts = {
        METADATA: json.dumps(_metadata(model, plan), indent=2),
        INFERENCE: json.dumps(_inference(settings, plan), indent=2),
        "docs/README.md": inner[CARD].decode(),
        "LICENSE": f"Licence of the trained weights: {licence or 'not stated; ask their makers'}",
    }
    return {
        **{place: f"{text.rstrip()}\n".encode() for place, text in texts.items()},
        **{f"{INNER}/{place}": content for place, content in inner.items()},
        # The specification asks for it; thirdaxis never reads it.
        f"{INNER}/model.pt": state.getvalue(),
    }


def _metadata(model: Model, plan: Plan) -> dict[str, Any]:
    origin = model.provenance
    data = origin.get("training_data", {})
    names = ", ".join(name for value, name in sorted(plan.labels.items()) if value)
    window: dict[str, Any] = {
        "type": "image",
        "modality": ", ".join(plan.channels),
        "spatial_shape": list(plan.window or plan.patch),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
    }
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"trained, {origin.get('made', 'on a day not told')}"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {name: _version(name) for name in RUNS_BY},
        "optional_packages_version": {},
        "name": f"Segmentation of {names}",
        "task": f"Segmentation of {names}",
        "description": f"{model.settings.network} converted to volumes with "
        f"{model.settings.fusion} by thirdaxis, trained on {data.get('name', 'data not told')}",
        "authors": "not stated",
        "copyright": f"licence of the weights: {origin.get('licence', 'not stated')}",
        "data_source": data.get("reference", data.get("name", "not told")),
        "eval_metrics": origin.get("metrics", {}).get("scores", {}),
        "intended_use": "Research, not diagnosis",
        "network_data_format": {
            "inputs": {
                "image": {
                    **window,
                    "format": "magnitude",
                    "num_channels": len(plan.channels),
                    "channel_def": {str(i): name for i, name in enumerate(plan.channels)},
                }
            },
            "outputs": {
                "pred": {
                    **window,
                    "format": "labels",
                    "num_channels": plan.classes,
                    "channel_def": {str(value): name for value, name in plan.labels.items()},
                }
            },
        },
    }


def _inference(settings: SegmentSettings, plan: Plan) -> dict[str, Any]:
    """The workflow, in the names that MONAI's tools look for."""
    return {
        "imports": ["$import glob", "$import os", "$import numpy", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": ".",
        "output_dir": "$os.path.join(@bundle_root, 'eval')",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "datalist": "$sorted(glob.glob(os.path.join(@dataset_dir, '*.nii.gz')))",
        "network_def": {
            "_target_": "thirdaxis.tasks.model.load_network",
            "folder": "$@bundle_root",
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": _of("Compose", transforms=_preprocessing(settings, plan)),
        "dataset": _of(
            "Dataset", data="$[{'image': i} for i in @datalist]", transform="@preprocessing"
        ),
        "dataloader": _of("DataLoader", dataset="@dataset", batch_size=1, num_workers=0),
        "inferer": _of(
            "SlidingWindowInferer",
            roi_size=list(plan.window or plan.patch),
            sw_batch_size=4,
            overlap=settings.overlap,
            mode="gaussian",
        ),
        "postprocessing": _of("Compose", transforms=_postprocessing(settings, plan)),
        "evaluator": _of(
            "SupervisedEvaluator",
            device="@device",
            val_data_loader="@dataloader",
            network="@network",
            inferer="@inferer",
            postprocessing="@postprocessing",
        ),
        "run": ["$@evaluator.run()"],
    }


def _preprocessing(settings: SegmentSettings, plan: Plan) -> list[Transform]:
    steps = preprocessing(settings, plan)
    read = [_of("LoadImaged", keys="image"), _of("EnsureChannelFirstd", keys="image")]
    turned = _of("Orientationd", keys="image", axcodes=steps.orientation, labels=AXIS_NAMES)
    if steps.spacing is not None:
        turned = _of(
            "thirdaxis.data.grid_transform.ToGridd",
            keys="image",
            orientation=steps.orientation,
            spacing=list(steps.spacing),
        )
    kind = type(steps.intensity)
    if kind not in INTENSITIES:
        raise UsageError(f"{kind.__name__} intensities have no counterpart in MONAI")
    return [*read, turned, INTENSITIES[kind](steps.intensity)]


def _postprocessing(settings: SegmentSettings, plan: Plan) -> list[Transform]:
    steps = [
        _of("Activationsd", keys="pred", softmax=True),
        _of(
            "Invertd",
            keys="pred",
            transform="@preprocessing",
            orig_keys="image",
            nearest_interp=False,
        ),
        _of("AsDiscreted", keys="pred", argmax=True),
    ]
    if settings.largest_component:
        steps.append(
            _of(
                "KeepLargestConnectedComponentd",
                keys="pred",
                applied_labels=list(plan.foreground),
                independent=True,
            )
        )
    save = _of(
        "SaveImaged",
        keys="pred",
        output_dir="@output_dir",
        output_postfix="",
        output_dtype="$numpy.uint8" if max(plan.labels) < 256 else "$numpy.uint16",
        resample=False,
        separate_folder=False,
    )
    return [*steps, save]


INTENSITIES: dict[type, Callable[[Any], Transform]] = {
    ZScore: lambda told: _of(
        "NormalizeIntensityd", keys="image", nonzero=told.nonzero, channel_wise=True
    ),
    Window: lambda told: _of(
        "ScaleIntensityRanged",
        keys="image",
        a_min=told.low_hu,
        a_max=told.high_hu,
        b_min=0.0,
        b_max=1.0,
        clip=True,
    ),
    Percentiles: lambda told: _of(
        "ScaleIntensityRangePercentilesd",
        keys="image",
        lower=told.low,
        upper=told.high,
        b_min=0.0,
        b_max=1.0,
        clip=True,
        channel_wise=True,
    ),
}


def _of(target: str, **arguments: Any) -> Transform:
    """A part of a configuration: a class of MONAI and its arguments."""
    return {"_target_": target, **arguments}


def _version(package: str) -> str:
    if package == "thirdaxis":
        return thirdaxis.__version__
    try:
        return version(package)
    except PackageNotFoundError:
        return "any"
