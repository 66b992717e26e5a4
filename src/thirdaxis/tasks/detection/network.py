"""The network of a run of lesion detection."""

from pathlib import Path
from typing import Any

import torch

from thirdaxis.errors import UsageError
from thirdaxis.nets.build import weights_named
from thirdaxis.nets.frozen import freeze
from thirdaxis.nets.lesion.detector import LesionDetector, make_detector
from thirdaxis.nets.lesion.settings import DetectorSettings
from thirdaxis.nets.lesion.svd import SvdSettings, make_svd_detector
from thirdaxis.nets.natural import is_volumetric
from thirdaxis.nets.starts import start_anew
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.network import Made, from_run
from thirdaxis.tasks.pretraining.detect.settings import DetectPretrainSettings


def numbers_of(settings: DetectSettings | DetectPretrainSettings) -> dict[str, Any]:
    """What settings of lesions and of photographs tell alike of a detector: widths and counts."""
    told = {
        "width": settings.width,
        "hidden": settings.hidden,
        "sizes": settings.anchors,
        "ratios": settings.ratios,
        "score_threshold": settings.score_threshold,
        "overlap": settings.nms,
        "most": settings.most,
    }
    counts = ("proposals_before", "proposals_after")
    return told | {name: many for name in counts if (many := getattr(settings, name)) is not None}


def detector_settings(settings: DetectSettings, plan: DetectPlan) -> DetectorSettings:
    """What the network of a run is made of.

    Raises:
        UsageError: what the detector cannot do.
    """
    told: dict[str, Any] = {
        "backbone": settings.network,
        "fusion": settings.fusion,
        "depth": plan.depth,
        "context": plan.context,
        "masks": plan.masks,
        **numbers_of(settings),
    }
    if is_volumetric(settings.network):
        if settings.overrides or settings.place or settings.statistics:
            raise UsageError(
                f"{settings.network} is a 3D network as it is: leave out overrides, place and "
                "statistics"
            )
        reduces = settings.depth_stride is not False
        return SvdSettings(**told, reduces=reduces, to_plane=settings.to_plane)
    if settings.depth_stride:
        raise UsageError("depth_stride: a detector keeps all slices up to its reductions")
    return DetectorSettings(
        **told,
        place=settings.place,
        overrides=settings.overrides or None,
        stem=settings.stem,
        statistics=settings.statistics,
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
    torch.manual_seed(settings.seed)
    weights = weights_named(settings.weights) if load else None
    run = weights if isinstance(weights, Path) and weights.is_dir() else None
    given, told = None if run else weights, detector_settings(settings, plan)
    if isinstance(told, SvdSettings):
        net: LesionDetector = make_svd_detector(told, given)
    else:
        net = make_detector(told, given)
    if settings.start:
        if settings.weights:
            raise UsageError("start: a detector takes either a random start or weights")
        start_anew(net.backbone, settings.start, zero_last_norm=settings.zero_last_norm)
    report = net.weights if run is None else from_run(net, run)
    freeze(net, settings.freeze)
    return Made(net.train(), report)
