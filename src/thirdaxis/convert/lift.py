"""Lifting a network once every module's setting is known: kernels stored, parts taken over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import isgeneratorfunction
from types import FunctionType

import torch
from torch import nn

from thirdaxis.convert.blocks import Turn, turns
from thirdaxis.convert.carrier import Setting
from thirdaxis.convert.copies import copied, keep_in_copies
from thirdaxis.convert.entry import Method, Part
from thirdaxis.convert.forward import show_pictures, take_over
from thirdaxis.convert.planting import fixed_depth, plant, slices_met, without_operators
from thirdaxis.convert.reading import calls_handwritten
from thirdaxis.convert.turned import Turned

# Modules that mean the same on a volume and on a picture, which are never entered by themselves.
SAME_ON_VOLUMES = (nn.Identity, nn.Linear, nn.Dropout, nn.PReLU)


@dataclass(frozen=True)
class Conversion:
    """What was done to a network; kept on it for `report`.

    Attributes:
        setting: how the network is lifted where nothing else is said.
        parts: settings of the parts that differ from what encloses them, by module name.
        stems: convolutions whose input channels were changed, and the rule of each.
        parameters_2d: number of parameters before kernels were stored in 3D.
        slices: slices that each convolution was found to get, where its operator fixes them.
        turns: blocks that work on planes of their own, by name.
    """

    setting: Setting
    parts: Mapping[str, Setting]
    stems: Mapping[str, str]
    parameters_2d: int
    slices: Mapping[str, int] = field(default_factory=dict)
    turns: Mapping[str, Turn] = field(default_factory=dict)

    @property
    def needs_thickness(self) -> bool:
        """Whether a call has to give the thickness of slices."""
        return any(s.fusion.needs_thickness for s in (self.setting, *self.parts.values()))

    @property
    def fixed_depth(self) -> int | None:
        """Slices that volumes must have, where operators fix their number."""
        asked = (s.fusion.fixed_depth() for s in (self.setting, *self.parts.values()))
        return next((slices for slices in asked if slices is not None), None)


def twin(net: nn.Module) -> nn.Module:
    """A copy with buffers, flags and hooks of its own that shares the parameters' memory."""
    return copied(net, share_parameters=True)


def beside(
    net: nn.Module, volume: torch.Tensor, thickness: float | torch.Tensor = 1.0
) -> dict[str, torch.Tensor]:
    """What a call has to give beside a volume: the thickness of slices, if an operator asks.

    Args:
        net: a converted network, or another, which is given nothing.
        volume: (N, C, D, H, W).
        thickness: in mm, of all volumes or (N,).
    """
    done = getattr(net, "_thirdaxis", None)
    if not isinstance(done, Conversion) or not done.needs_thickness:
        return {}
    told = torch.as_tensor(thickness, dtype=volume.dtype, device=volume.device)
    return {"thickness": told.expand(len(volume))}


def lift(
    net: nn.Module, settings: Mapping[str, Setting], stems: Mapping[str, str] | None = None
) -> nn.Module:
    """Makes a 2D network take volumes, in place.

    Args:
        net: a copy of the caller's 2D network.
        settings: the setting of every module, by name.
        stems: convolutions whose input channels were changed before, for the record.

    Returns:
        The same module.
    """
    parts = {n: s for n, s in settings.items() if s != settings[n.rpartition(".")[0]]}
    count = sum(p.numel() for p in net.parameters())
    turned = turns(net, settings)
    depth, slices = fixed_depth(settings), {}
    if depth is not None:
        slices = slices_met(lift(twin(net), without_operators(settings)), depth)
    net._thirdaxis = Conversion(settings[""], parts, stems or {}, count, slices, turned)  # type: ignore[assignment]
    modules = list(net.named_modules())
    owners = plant(net, settings, slices)
    for name, module in modules:
        setting, outer = settings[name], settings[name.rpartition(".")[0]]
        apart = outer if setting != outer or name in owners else None
        same = type(module) in SAME_ON_VOLUMES or not _is_called(module)
        show_pictures(module, setting)
        if not same or apart or name in turned:
            told = setting, apart, calls_handwritten(module)
            turn = turned.get(name)
            vars(module)["forward"] = Turned(module, *told, turn) if turn else Part(module, *told)
        if isinstance(module, torch.fx.GraphModule):
            keep_in_copies(module)
        for method in _public_methods(type(module)) - vars(module).keys():
            vars(module)[method] = Method(module, method, setting)
    take_over(net, settings[""])
    return net


def _is_called(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward


def _public_methods(kind: type[nn.Module]) -> set[str]:
    """Methods of a network's own classes that a user may call with a volume.

    Not the steps and hooks of a training loop, whose losses are to see volumes.
    """
    known = set(dir(nn.Module))
    return {
        name
        for owner in kind.__mro__
        if getattr(owner, "forward", nn.Module.forward) is not nn.Module.forward
        and not owner.__module__.startswith("torch.")
        for name, value in vars(owner).items()
        if isinstance(value, FunctionType) and not isgeneratorfunction(value)
        if not name.startswith(("_", "load", "configure_", "on_"))
        and not name.endswith("_step")
        and name not in known
        and callable(getattr(kind, name))
    }
