"""The network of a classification run: a 2D classifier by name, its weights, converted."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torchvision.models import SqueezeNet

import thirdaxis
from thirdaxis.convert.lift import beside
from thirdaxis.errors import InputError, UsageError
from thirdaxis.fusion.a3d import A3D
from thirdaxis.fusion.table import resolve
from thirdaxis.nets.build import build, weights_named
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.segmentation.network import Made, from_run


def make_classifier(settings: ClassifySettings, plan: ClassifyPlan, *, load: bool = True) -> Made:
    """Builds, loads and converts the network of a run, from the run's seed.

    Args:
        settings: of the run.
        plan: of the run; gives channels, outputs and size.
        load: whether to load the pretrained weights the settings name; a checkpoint follows
            otherwise.

    Returns:
        The 3D network, (N, channels, D, H, W) to (N, outputs), in training mode.

    Raises:
        ThirdaxisError: an unknown network or fusion, weights that do not fit, or a box the network
            cannot take.
    """
    torch.manual_seed(settings.seed)
    trained = load and settings.weights is not None and Path(settings.weights).is_dir()
    built = build(
        settings.network,
        classes=plan.outputs,
        in_channels=plan.channels,
        weights=weights_named(settings.weights) if load and not trained else None,
        task="classify",
    )
    if isinstance(built.net, SqueezeNet):
        # It ends in a ReLU, behind which a new last layer of few classes soon says 0 for ever.
        built.net.classifier[2] = nn.Identity()
    fusion = resolve(settings.fusion)
    if isinstance(fusion, A3D):
        fusion = replace(fusion, depth=plan.size[0])
    net = thirdaxis.convert(
        built.net,
        fusion,
        depth_stride=settings.depth_stride,
        in_channels=built.adapted(plan.channels),
        stem=settings.stem,
        statistics=settings.statistics,
        overrides=settings.overrides or None,
    )
    size = "×".join(map(str, plan.size))
    try:
        with torch.no_grad():
            box = torch.zeros(1, plan.channels, *plan.size)
            out = net.eval()(box, **beside(net, box))
    except (RuntimeError, AssertionError, InputError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"a box of {size} voxels does not go through {settings.network}: {reason}; take a "
            "larger one, or a network of fewer strides such as lidc:resnet18"
        ) from error
    given = tuple(getattr(out, "shape", ())) or type(out).__name__
    if given != (1, plan.outputs):
        raise UsageError(
            f"{settings.network} gives {given} for a box, expected (1, {plan.outputs}): it is no "
            "classifier"
        )
    report = from_run(net, Path(str(settings.weights))) if trained else built.weights
    return Made(net.train(), report)
