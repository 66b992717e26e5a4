"""The network of a pretraining on photographs with boxes: SVD-Net's detector, all slices kept."""

from pathlib import Path
from typing import Any

import torch

from thirdaxis.errors import UsageError
from thirdaxis.nets.build import weights_named
from thirdaxis.nets.frozen import freeze
from thirdaxis.nets.lesion.svd import SvdSettings, make_svd_detector
from thirdaxis.nets.starts import start_anew
from thirdaxis.tasks.detection.network import numbers_of
from thirdaxis.tasks.network import Made, from_run
from thirdaxis.tasks.pretraining.detect.plan import SLICES, DetectPretrainPlan
from thirdaxis.tasks.pretraining.detect.settings import DetectPretrainSettings


def make_photograph_detector(
    settings: DetectPretrainSettings, plan: DetectPretrainPlan, *, load: bool = True
) -> Made:
    """Builds and loads the detector of a run, from the run's seed.

    Args:
        settings: of the run.
        plan: of the run.
        load: whether to load the weights the settings name; a checkpoint follows otherwise.

    Returns:
        The `SvdDetector` in training mode.

    Raises:
        ThirdaxisError: an unknown network, or weights that do not fit.
    """
    torch.manual_seed(settings.seed)
    weights = weights_named(settings.weights) if load else None
    run = weights if isinstance(weights, Path) and weights.is_dir() else None
    told: dict[str, Any] = {
        "backbone": settings.network,
        "depth": SLICES,
        "reduces": False,
        "to_plane": settings.to_plane,
        "classes": len(plan.names),
        **numbers_of(settings),
    }
    net = make_svd_detector(SvdSettings(**told), None if run else weights)
    if settings.start:
        if settings.weights:
            raise UsageError("start: a detector takes either a random start or weights")
        start_anew(net.backbone, settings.start, zero_last_norm=settings.zero_last_norm)
    report = net.weights if run is None else from_run(net, run)
    freeze(net, settings.freeze)
    return Made(net.train(), report)
