"""The network of a segmentation run, tried on one patch."""

import torch
from torch import nn

from thirdaxis.convert.lift import beside
from thirdaxis.errors import InputError, UsageError
from thirdaxis.nets.ahnet import AHNet, check_batch
from thirdaxis.tasks.network import Made, converted
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.settings import SegmentSettings


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
    made = converted(
        settings,
        "segment",
        classes=plan.classes,
        channels=len(plan.channels),
        depth=plan.patch[0],
        load=load,
    )
    if load:  # a checkpoint comes from a run whose patch went through
        _try_patch(made.net, settings, plan)
        made.net.train()
    return made


def _try_patch(net: nn.Module, settings: SegmentSettings, plan: Plan) -> None:
    """Runs one patch, so that a patch too small for the strides is told before training."""
    size = "×".join(map(str, plan.patch))
    advice = "take a larger patch, or one divisible by the network's strides"
    try:
        with torch.no_grad():
            patch = torch.zeros(1, len(plan.channels), *plan.patch)
            out = net.eval()(patch, **beside(net, patch))
        if isinstance(net, AHNet):
            check_batch(settings.batch // (settings.devices * settings.nodes), plan.patch)
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
