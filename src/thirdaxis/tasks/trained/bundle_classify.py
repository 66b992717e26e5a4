"""A trained classification run by MONAI: boxes of scans in, a table of probabilities out."""

from dataclasses import asdict
from typing import Any

from thirdaxis.errors import UsageError
from thirdaxis.tasks.classification.crops import intensity_of
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.trained.bundle_parts import Part, chain, intensity, part, scaled, workflow

READER = "thirdaxis.tasks.classification.read_box"
WRITTEN = "predictions.csv"


def task_of(plan: ClassifyPlan) -> str:
    """What it does, in a few words."""
    names = ", ".join(plan.names)
    return f"Grading of {names}" if plan.kind == "grade" else f"Classification of {names}"


def formats(plan: ClassifyPlan) -> dict[str, Any]:
    """What goes in and comes out."""
    return {
        "inputs": {
            "image": {
                "type": "image",
                "format": "magnitude",
                "modality": "not told",
                "num_channels": plan.channels,
                "spatial_shape": list(plan.size),
                "dtype": "float32",
                "value_range": [],
                "is_patch_data": False,
                "channel_def": {str(i): f"channel {i}" for i in range(plan.channels)},
            }
        },
        "outputs": {
            "pred": {
                "type": "series" if plan.kind == "grade" else "probabilities",
                "format": "classification",
                "num_channels": plan.outputs,
                "spatial_shape": [],
                "dtype": "float32",
                "value_range": [] if plan.kind == "grade" else [0, 1],
                "is_patch_data": False,
                "channel_def": {str(i): name for i, name in enumerate(plan.names)},
            }
        },
    }


def inference(settings: ClassifySettings, plan: ClassifyPlan) -> Part:
    """The workflow that writes a line for each sample: its name, then what `predict` says of it.

    Raises:
        UsageError: a network for the arrays of MedMNIST.
    """
    if settings.medmnist:
        raise UsageError("a model trained on a set of MedMNIST reads its arrays, no scans")
    saved = part(
        "SaveClassificationd",
        keys="pred",
        meta_keys="image_meta_dict",
        saver="@saver",
        flush=False,
    )
    return workflow(
        datalist=part(f"{READER}.samples", model="$@bundle_root", inputs="$@dataset_dir"),
        saver=part("CSVSaver", output_dir="@output_dir", filename=WRITTEN),
        preprocessing=chain(_before(settings, plan)),
        inferer=part("SimpleInferer"),
        postprocessing=chain([_answer(plan), saved]),
        run=["$@evaluator.run()", "$@saver.finalize()"],
    )


def _before(settings: ClassifySettings, plan: ClassifyPlan) -> list[Part]:
    read = part(f"{READER}.ReadBoxd", keys="image", **asdict(settings.box()))
    grey = scaled(0, 255, clip=False) if settings.intensity == "bytes" else None
    inner = part("CenterSpatialCropd", keys="image", roi_size=list(plan.size))
    # Intensities are those of the box with its margins, as in training.
    return [read, grey or intensity(intensity_of(settings)), inner]


def _answer(plan: ClassifyPlan) -> Part:
    if plan.kind == "grade":
        told = f"$lambda answer: {plan.mean!r} + {plan.spread!r} * answer"
        return part("Lambdad", keys="pred", func=told)
    chosen = "softmax" if plan.kind == "classes" else "sigmoid"
    return part("Activationsd", keys="pred", **{chosen: True})
