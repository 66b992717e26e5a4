"""What the MONAI bundles of all tasks are made of."""

from collections.abc import Callable
from typing import Any

from thirdaxis.data.intensity import Percentiles, Window, ZScore
from thirdaxis.errors import UsageError

Part = dict[str, Any]


def part(target: str, **arguments: Any) -> Part:
    """A part of a configuration: a class and its arguments."""
    return {"_target_": target, **arguments}


def chain(parts: list[Part]) -> Part:
    """Transforms one after the other."""
    return part("Compose", transforms=parts)


def workflow(**own: Any) -> Part:
    """A configuration of inference, in the names that MONAI's tools look for.

    Args:
        own: ``datalist``; ``preprocessing``, ``inferer`` and ``postprocessing``; and
            what else a task needs.
    """
    return {
        "imports": ["$import glob", "$import os", "$import numpy", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": ".",
        "output_dir": "$os.path.join(@bundle_root, 'eval')",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": part("thirdaxis.tasks.model.load_network", folder="$@bundle_root"),
        "network": "$@network_def.to(@device)",
        "dataset": part(
            "Dataset", data="$[{'image': i} for i in @datalist]", transform="@preprocessing"
        ),
        "dataloader": part("DataLoader", dataset="@dataset", batch_size=1, num_workers=0),
        "evaluator": part(
            "SupervisedEvaluator",
            device="@device",
            val_data_loader="@dataloader",
            network="@network",
            inferer="@inferer",
            postprocessing="@postprocessing",
        ),
        "run": ["$@evaluator.run()"],
        **own,
    }


def intensity(told: Callable[..., Any]) -> Part:
    """The transform of MONAI that does as one of `thirdaxis.data.intensity`.

    Raises:
        UsageError: there is none.
    """
    if type(told) not in INTENSITIES:
        raise UsageError(f"{type(told).__name__} intensities have no counterpart in MONAI")
    return INTENSITIES[type(told)](told)


def scaled(low: float, high: float, *, clip: bool = True) -> Part:
    """The transform that makes 0 of one intensity and 1 of another."""
    return part(
        "ScaleIntensityRanged", keys="image", a_min=low, a_max=high, b_min=0.0, b_max=1.0, clip=clip
    )


INTENSITIES: dict[type, Callable[[Any], Part]] = {
    ZScore: lambda told: part(
        "NormalizeIntensityd", keys="image", nonzero=told.nonzero, channel_wise=True
    ),
    Window: lambda told: scaled(told.low_hu, told.high_hu),
    Percentiles: lambda told: part(
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
