"""The network of a run: a 2D network by name, its weights, converted, and tried on one patch."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

import thirdaxis
from thirdaxis.convert.lift import beside
from thirdaxis.errors import InputError, UsageError
from thirdaxis.fusion.a3d import A3D
from thirdaxis.fusion.table import resolve
from thirdaxis.nets.build import build, weights_named
from thirdaxis.nets.weights import WeightsReport, transfer
from thirdaxis.tasks.keep import BEST, read_checkpoint
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.settings import SegmentSettings


@dataclass(frozen=True)
class Made:
    """A converted network and what was loaded into it; no report where nothing was."""

    net: nn.Module
    weights: WeightsReport | None


def make_network(settings: SegmentSettings, plan: Plan, *, load: bool = True) -> Made:
    """Builds, loads and converts the network of a run, from the run's seed.

    Args:
        settings: of the run.
        plan: of the run; gives channels and classes.
        load: whether to load the pretrained weights the settings name; a checkpoint follows
            otherwise.

    Returns:
        The 3D network, (N, channels, D, H, W) to (N, classes, D, H, W), in training mode.

    Raises:
        ThirdaxisError: an unknown network or fusion, weights that do not fit, or a patch the
            network cannot take.
    """
    torch.manual_seed(settings.seed)
    channels = len(plan.channels)
    trained = load and settings.weights is not None and Path(settings.weights).is_dir()
    weights = weights_named(settings.weights) if load and not trained else None
    built = build(settings.network, classes=plan.classes, in_channels=channels, weights=weights)
    fusion = resolve(settings.fusion)
    if isinstance(fusion, A3D):
        fusion = replace(fusion, depth=plan.patch[0])
    net = thirdaxis.convert(
        built.net,
        fusion,
        depth_stride=settings.depth_stride,
        in_channels=built.adapted(channels),
        stem=settings.stem,
        statistics=settings.statistics,
        overrides=settings.overrides or None,
    )
    if load:  # a checkpoint comes from a run whose patch went through
        _try_patch(net, settings, plan)
    report = from_run(net, Path(str(settings.weights))) if trained else built.weights
    return Made(net.train(), report)


def from_run(net: nn.Module, folder: Path) -> WeightsReport:
    """Fills a converted network, head and all, from the best one of a run, by name and shape.

    So a network that learned single slices (fusion `slicewise`, patches one slice deep) starts one
    that sees volumes: an ordinary 2D pretraining on the data set itself.

    Args:
        net: filled in place.
        folder: of the run.

    Raises:
        InputError: not a run folder, nothing in it fits, or it holds 2D kernels where this network
            has 3D ones of its own.
    """
    state = read_checkpoint(folder / BEST)["state_dict"]
    inner = {name.removeprefix("net."): value for name, value in state.items()}
    for name, own in net.state_dict().items():
        if name in inner and inner[name].ndim != own.ndim:
            raise InputError(
                f"{folder}: its {name} has {inner[name].ndim} axes, here {own.ndim} are needed; "
                "take a fusion that keeps 2D kernels, such as acs, in both runs"
            )
    return transfer(net, inner, str(folder / BEST))


def _try_patch(net: nn.Module, settings: SegmentSettings, plan: Plan) -> None:
    """Runs one patch, so that a patch too small for the strides is told before training."""
    size = "×".join(map(str, plan.patch))
    advice = "take a larger patch, or one divisible by the network's strides"
    try:
        with torch.no_grad():
            patch = torch.zeros(1, len(plan.channels), *plan.patch)
            out = net.eval()(patch, **beside(net, patch))
    except (RuntimeError, InputError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"a patch of {size} voxels does not go through {settings.network}: {reason}; {advice}"
        ) from error
    shape = tuple(getattr(out, "shape", ()))
    if shape != (1, plan.classes, *plan.patch):
        raise UsageError(
            f"{settings.network} gives {shape or type(out).__name__} for a patch of {size} voxels,"
            f" expected (1, {plan.classes}, {', '.join(map(str, plan.patch))}); {advice}"
        )
