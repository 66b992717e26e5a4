"""The forward of a converted network: volumes in, volumes out, in eager mode and when compiled."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import nn

from thirdaxis.convert.carrier import Hidden, Setting
from thirdaxis.convert.entry import Method, enter, reveal
from thirdaxis.convert.nested import map_tensors, tensors_in
from thirdaxis.convert.private import constant
from thirdaxis.convert.reading import calls_handwritten
from thirdaxis.errors import InputError, UsageError


@constant
class Forward(Method):
    """Stands before the forward of a network's class, on the network itself.

    The compiler of ``torch.compile`` never reads what lies behind: the network becomes one step of
    its graph, which its tracer runs in Python.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the network in the carrier.

        Raises:
            InputError: no (N, C, D, H, W) tensor is among the arguments.
        """
        if torch.compiler.is_dynamo_compiling():
            from thirdaxis.convert.graph import in_graph

            return in_graph(self, args, kwargs)
        found = tensors_in((args, kwargs))
        if any(isinstance(x, Hidden) for x in found):
            return type(self.module).forward(self.module, *args, **kwargs)
        return self.inside(args, kwargs)

    def inside(self, args: tuple, kwargs: dict) -> Any:
        """Runs the network in the carrier, on volumes from outside."""
        ranks = [x.dim() for x in tensors_in((args, kwargs))]
        if 5 not in ranks:
            came = ", ".join(f"rank {rank}" for rank in ranks) or "no tensor"
            raise InputError(
                f"{type(self.module).__name__} was converted to 3D and takes (N, C, D, H, W), got "
                f"{came}; add the depth axis, e.g. x.unsqueeze(2) for a single slice"
            )
        return super().inside(args, kwargs)

    def __eq__(self, other: object) -> bool:
        """The same forward of the same network."""
        return isinstance(other, Forward) and self.module is other.module

    def __hash__(self) -> int:
        """By the identity of the network."""
        return id(self.module)

    @property
    def __code__(self) -> CodeType:
        """Of the network's own forward; `torch.export` names its inputs by it."""
        return type(self.module).forward.__code__

    @property
    def __signature__(self) -> inspect.Signature:
        """The arguments of the network's own forward, and the thickness where operators ask."""
        own = inspect.signature(type(self.module).forward.__get__(self.module))
        done: Any = self.module._thirdaxis
        if "thickness" in own.parameters or not done.needs_thickness:
            return own
        parameters = list(own.parameters.values())
        kind = inspect.Parameter.KEYWORD_ONLY
        named = parameters and parameters[-1].kind == inspect.Parameter.VAR_KEYWORD
        place = len(parameters) - 1 if named else len(parameters)
        parameters.insert(place, inspect.Parameter("thickness", kind, default=None))
        return own.replace(parameters=parameters)


@dataclass(frozen=True)
class OnPictures:
    """A hook that a network had before its conversion: it sees what its program sees.

    Attributes:
        hook: the hook.
        setting: how the network is lifted.
    """

    hook: Callable
    setting: Setting

    def __call__(self, module: nn.Module, *values: Any) -> Any:
        """Gives the hook carriers for volumes, and reveals what it returns."""
        if torch.compiler.is_dynamo_compiling():
            raise InputError(
                f"{type(module).__name__} cannot be compiled with the hooks that it had before its "
                "conversion: remove them, or register them on a part"
            )
        if any(isinstance(x, Hidden) for x in tensors_in(values)):
            return self.hook(module, *values)
        return map_tensors(self.hook(module, *enter(values, self.setting)), reveal)


def show_pictures(module: nn.Module, setting: Setting) -> None:
    """Lets the hooks of a network or part see pictures; torch's own, on weights, stay."""
    for hooks in (module._forward_pre_hooks, module._forward_hooks):
        for key, hook in hooks.items():
            if not type(hook).__module__.startswith("torch."):
                hooks[key] = OnPictures(hook, setting)


def take_over(net: nn.Module, setting: Setting) -> None:
    """Puts a network behind its `Forward`."""
    vars(net)["forward"] = Forward(net, "forward", setting, calls_handwritten(net))
    vars(net)["_replicate_for_data_parallel"] = _refuse_data_parallel


def _refuse_data_parallel() -> None:
    raise UsageError(
        "a converted network does not run under torch.nn.DataParallel: "
        "use torch.nn.parallel.DistributedDataParallel"
    )
