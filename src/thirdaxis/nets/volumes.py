"""Any network by name on volumes: built in 2D, converted, started or filled in 3D."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

import thirdaxis
from thirdaxis.errors import UsageError
from thirdaxis.fusion.base import Fusion
from thirdaxis.nets.build import Task, Weights, build
from thirdaxis.nets.pretrained import holds_volumes, load_pretrained
from thirdaxis.nets.published import NETWORKS
from thirdaxis.nets.starts import start_anew
from thirdaxis.nets.weights import WeightsReport


def make_volumetric(
    name: str,
    fusion: Fusion,
    weights: Weights,
    *,
    classes: int,
    channels: int,
    task: Task,
    change: Callable[[nn.Module], None] = lambda net: None,
    start: str | None = None,
    zero_last_norm: bool = False,
    **conversion: Any,
) -> tuple[nn.Module, WeightsReport | None]:
    """Builds a network for volumes with its weights, 2D ones before conversion, 3D ones after it.

    Args:
        name: see `thirdaxis.nets.build.build`.
        fusion: of the conversion.
        weights: ``library``, a file of 2D or 3D kernels, or None for a random start.
        classes: channels of the answer.
        channels: of the volumes.
        task: ``segment`` or ``classify``.
        change: made to the 2D network before it is converted.
        start: how kernels are drawn once they are 3D, see `thirdaxis.nets.starts.start_anew`; None
            is what the network asks for.
        zero_last_norm: whether residual blocks start as the identity, with `start`.
        **conversion: further arguments of `thirdaxis.convert`.

    Returns:
        The network, and what became of the weights.

    Raises:
        UsageError: an unknown network, fusion or setting, or a random start beside 2D weights.
        InputError: weights that cannot be read, fetched, or do not fit.
    """
    file = weights if isinstance(weights, Path) else None
    # Networks with 3D code of their own know their 3D files themselves.
    ordinary = name not in NETWORKS or NETWORKS[name].lift is thirdaxis.convert
    volumetric = ordinary and file is not None and holds_volumes(file)
    built = build(
        name,
        classes=classes,
        in_channels=channels,
        weights=None if volumetric else weights,
        task=task,
    )
    if start and built.weights:
        raise UsageError(
            f"start={start!r} would draw anew what the 2D weights {weights} just filled; leave one "
            "of them out"
        )
    change(built.net)
    net = built.lift(built.net, fusion, in_channels=built.adapted(channels), **conversion)
    if rule := start or built.start:
        start_anew(net, rule, zero_last_norm=zero_last_norm)
    if not volumetric:
        return net, built.weights
    assert file is not None
    return net, load_pretrained(net, file)
