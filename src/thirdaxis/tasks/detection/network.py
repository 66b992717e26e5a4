"""The network of a run of lesion detection."""

from pathlib import Path

import torch

from thirdaxis.errors import UsageError
from thirdaxis.nets.build import weights_named
from thirdaxis.nets.lesion_detector import make_detector
from thirdaxis.nets.lesion_settings import DetectorSettings
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.network import Made, from_run


def detector_settings(settings: DetectSettings, plan: DetectPlan) -> DetectorSettings:
    """What the network of a run is made of."""
    return DetectorSettings(
        backbone=settings.network,
        fusion=settings.fusion,
        depth=plan.depth,
        place=settings.place,
        overrides=settings.overrides or None,
        stem=settings.stem,
        statistics=settings.statistics,
        masks=plan.masks,
        width=settings.width,
        hidden=settings.hidden,
        sizes=settings.anchors,
        ratios=settings.ratios,
        score_threshold=settings.score_threshold,
        overlap=settings.nms,
        most=settings.most,
    )


def make_lesion_detector(settings: DetectSettings, plan: DetectPlan, *, load: bool = True) -> Made:
    """Builds, converts and loads the detector of a run, from the run's seed.

    Args:
        settings: of the run.
        plan: of the run.
        load: whether to load the pretrained weights the settings name; a checkpoint follows
            otherwise.

    Returns:
        The `LesionDetector` in training mode.

    Raises:
        ThirdaxisError: an unknown backbone or fusion, or weights that do not fit.
    """
    if settings.depth_stride:
        raise UsageError("depth_stride: a detector keeps all slices up to its reductions")
    torch.manual_seed(settings.seed)
    weights = weights_named(settings.weights) if load else None
    run = weights if isinstance(weights, Path) and weights.is_dir() else None
    net = make_detector(detector_settings(settings, plan), None if run else weights).train()
    return Made(net, net.weights if run is None else from_run(net, run))
