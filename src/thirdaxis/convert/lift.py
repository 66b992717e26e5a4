"""Lifting a network once every module's setting is known: kernels stored, hooks hung."""

import copy
from collections.abc import Mapping

from torch import nn

from thirdaxis.axes import Geometry, pair
from thirdaxis.convert.carrier import Setting
from thirdaxis.convert.entry import Enter, EnterPart, Leave, LeavePart


def lift(net: nn.Module, settings: Mapping[str, Setting]) -> nn.Module:
    """A copy of a 2D network that takes volumes.

    Args:
        net: the 2D network; untouched.
        settings: the setting of every module, by name.
    """
    lifted = copy.deepcopy(net)
    _store_kernels(lifted, settings)
    for name, module in lifted.named_modules():
        outer = settings[name.rpartition(".")[0]]
        if settings[name] != outer:
            _hang(module, EnterPart(settings[name]), LeavePart(outer))
    _hang(lifted, Enter(settings[""]), Leave())
    return lifted


def _hang(module: nn.Module, enter, leave) -> None:
    module.register_forward_pre_hook(enter, with_kwargs=True, prepend=True)
    module.register_forward_hook(leave, with_kwargs=True)


def _store_kernels(net: nn.Module, settings: Mapping[str, Setting]) -> None:
    """Replaces a convolution's parameter where its operator keeps a 3D one; sharing is kept."""
    stored: dict[int, nn.Parameter] = {}
    for name, module in net.named_modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            continue
        weight = module._parameters.get("weight")
        if weight is None or weight.dim() != 4:
            continue
        geometry = Geometry(pair(module.kernel_size), dilation=pair(module.dilation))
        if geometry.pointwise or not geometry.square:
            continue
        if id(weight) not in stored:
            kernel = settings[name].fusion.stored(weight.detach())
            same = kernel.shape == weight.shape
            stored[id(weight)] = weight if same else nn.Parameter(kernel, weight.requires_grad)
        module.weight = stored[id(weight)]
