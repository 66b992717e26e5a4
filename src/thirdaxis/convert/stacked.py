"""`stacked`: the other "2.5D", slices as the channels of a 2D network.

No operator of a convolution: behind its first layer such a network has no depth axis at all. So it
does not go through the carrier, and has a function of its own beside `convert`.
"""

from dataclasses import dataclass

import torch
from torch import nn

from thirdaxis.convert.copies import copied
from thirdaxis.convert.entry import is_converted
from thirdaxis.errors import InputError, UsageError


@dataclass(frozen=True)
class Stack:
    """Forward pre-hook of a network on stacked slices: (N, 1, D, H, W) to (N, D, H, W).

    Attributes:
        slices: D.
    """

    slices: int

    def __call__(self, module: nn.Module, args: tuple) -> tuple:
        """Stacks the slices of the first argument.

        Raises:
            InputError: no volume of one channel and as many slices.
        """
        shape = tuple(args[0].shape) if args and isinstance(args[0], torch.Tensor) else ()
        if len(shape) != 5 or shape[1:3] != (1, self.slices):
            raise InputError(
                f"{type(module).__name__} on stacked slices takes (N, 1, {self.slices}, H, W), got "
                f"{shape or 'no tensor'}"
            )
        return (args[0].flatten(1, 2), *args[1:])


def stacked(net: nn.Module, slices: int) -> nn.Module:
    """Turns a 2D network into one that takes D slices as its channels and answers for the middle.

    (N, 1, D, H, W) goes in, what the 2D network answers to a picture comes out: the answer has no
    depth. Kernels of the first convolution are repeated over the slices so that its channels sit
    around the middle slice, without rescaling: for RGB and seven slices G, B, R, G, B, R, G; three
    slices leave the checkpoint as it is. The given network is untouched.

    Source: the "2.5D" of Yang et al., "AlignShift", MICCAI 2020, and of its code. The papers on ACS
    and A3D call 2.5D what is ``convert(net, "slicewise")`` here.

    Args:
        net: a network that takes pictures (N, C, H, W).
        slices: D.

    Returns:
        A copy, of the same class and with the same parameter names.

    Raises:
        UsageError: no whole number of slices, no ungrouped Conv2d with a weight of its own to read
            them, or a converted network.
    """
    if type(slices) is not int or slices < 1:
        raise UsageError(f"stacked takes a whole number of slices from 1, got {slices!r}")
    if any(is_converted(module) for module in net.modules()):
        raise UsageError("stacked takes a 2D network; this one, or a part of it, is converted")
    net = copied(net)
    stem = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    if stem is None or stem.groups > 1 or "weight" not in stem._parameters:
        raise UsageError("stacked: the network has no ordinary Conv2d first that reads slices")
    given = stem.in_channels
    if given != slices:
        channels = [(i - slices // 2 + given // 2) % given for i in range(slices)]
        weight = stem.weight.detach()[:, channels].contiguous()
        stem.weight = nn.Parameter(weight, stem.weight.requires_grad)
        stem.in_channels = slices
    net.register_forward_pre_hook(Stack(slices), prepend=True)
    return net
