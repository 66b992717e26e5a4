"""The network of a classification run, tried on one box."""

from collections.abc import Sequence

import torch
from torch import nn
from torchvision.models import SqueezeNet

from thirdaxis.convert.lift import beside
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.network import Made, converted


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
    made = converted(
        settings,
        "classify",
        classes=plan.outputs,
        channels=plan.channels,
        depth=plan.size[0],
        load=load,
        change=_open_end,
    )
    size = "×".join(map(str, plan.size))
    try:
        with torch.no_grad():
            box = torch.zeros(1, plan.channels, *plan.size)
            out = made.net.eval()(box, **beside(made.net, box))
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
    made.net.train()
    return made


def slices_read(net: nn.Module, shape: Sequence[int]) -> int:
    """How many slices of a box have a say in the network's answer.

    A `slicewise` network reads one in 32 where it strides five times along depth too, which of a
    small box may be the outermost ones alone.

    Args:
        net: 3D, in training mode, as which it is left.
        shape: (C, D, H, W) of the box.
    """
    noise = torch.Generator().manual_seed(0)
    box = torch.randn(1, *shape, generator=noise).requires_grad_()
    answer = net.eval()(box, **beside(net, box))
    (pull,) = torch.autograd.grad(answer.square().sum(), box)
    net.train()
    return int(pull.abs().amax((0, 1, 3, 4)).count_nonzero())


def _open_end(net: nn.Module) -> None:
    """SqueezeNet ends in a ReLU, behind which a new last layer may say 0 for ever."""
    if isinstance(net, SqueezeNet):
        net.classifier[2] = nn.Identity()
