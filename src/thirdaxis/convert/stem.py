"""The first convolution of a pretrained RGB network on volumes of another number of channels."""

import torch
from torch import nn

from thirdaxis.errors import UsageError, did_you_mean


def _sum(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """A grey volume gives what its RGB copy gave; several channels share the sum."""
    return weight.sum(1, keepdim=True).repeat(1, channels, 1, 1) / channels


def _mean(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """Every channel gets the mean kernel: a third of the RGB response for a grey volume."""
    return weight.mean(1, keepdim=True).repeat(1, channels, 1, 1)


def _green(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """Every channel gets the kernel of the green channel."""
    return weight[:, 1:2].repeat(1, channels, 1, 1)


def _depth(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """Red, green and blue become three depth taps: (C_out, 3, K, K) to (C_out, channels, 3, K, K).

    Several channels share them.
    """
    return weight.unsqueeze(1).repeat(1, channels, 1, 1, 1) / channels


STEMS = {"sum": _sum, "mean": _mean, "green": _green, "depth": _depth}


def adapt_stem(net: nn.Module, channels: int, rule: str) -> list[str]:
    """Changes in place every convolution that reads the picture to read ``channels`` channels.

    The picture's channels are those of the first convolution; every ungrouped convolution of as
    many input channels counts as one that reads it when they are three (RGB), else the first alone.
    A network whose answer or inner maps have three channels too says which do: their names in its
    attribute ``reads_picture``.

    Args:
        net: the 2D network.
        channels: channels of the volumes to come.
        rule: ``"sum"`` (a grey volume gives what its RGB copy gave), ``"mean"``, ``"green"``
            (Yang et al., "AlignShift", 2020) or ``"depth"`` (the RGB axis becomes three depth taps:
            Liu et al., "3D Anisotropic Hybrid Network", 2018).

    Returns:
        Names of the changed convolutions; none where the network takes so many channels anyway.

    Raises:
        UsageError: an unknown rule, or one that does not suit the network or the channels.
    """
    if rule not in STEMS:
        raise UsageError(f"unknown stem rule {rule!r}{did_you_mean(rule, STEMS)}")
    if not isinstance(channels, int) or channels < 1:
        raise UsageError(f"in_channels takes a whole number from 1, got {channels!r}")
    convs = [(name, m) for name, m in net.named_modules() if isinstance(m, nn.Conv2d)]
    if not convs:
        raise UsageError("in_channels: the network has no Conv2d whose input could be adapted")
    given = convs[0][1].in_channels
    if given == channels and rule != "depth":
        return []
    if rule in {"green", "depth"} and given != 3:
        raise UsageError(f"stem={rule!r} needs a network of 3 input channels, this one has {given}")
    stems = [(n, m) for n, m in convs if m.in_channels == given and m.groups == 1]
    stems = stems if given == 3 else stems[:1]
    told = getattr(net, "reads_picture", None)
    stems = [(n, m) for n, m in stems if n in told] if told else stems
    for name, conv in stems:
        if "weight" not in conv._parameters:
            raise UsageError(
                f"in_channels: the weight of {name!r} is computed (a parametrisation); "
                "remove it before converting"
            )
        weight = conv.weight
        conv.weight = nn.Parameter(
            STEMS[rule](weight.detach(), channels).contiguous(), requires_grad=weight.requires_grad
        )
        conv.in_channels = channels
    return [name for name, _ in stems]
