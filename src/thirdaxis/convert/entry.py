"""How volumes go into the carrier and come out of it, and how its parts take them by themselves."""

import inspect
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from thirdaxis.axes import alike
from thirdaxis.convert.backward import carry_back
from thirdaxis.convert.caller import is_programs_own, refuse_compiler
from thirdaxis.convert.carrier import LAYERS, Call, Hidden, Setting, hide, hide_volume
from thirdaxis.convert.nested import map_tensors, tensors_in
from thirdaxis.errors import InputError, UsageError
from thirdaxis.fusion.base import Operator

_log: ContextVar[list[Any] | None] = ContextVar("thirdaxis_log", default=None)


@contextmanager
def logged() -> Iterator[list[Any]]:
    """Collects the spatial convolutions that converted networks run inside this context."""
    log: list[Any] = []
    token = _log.set(log)
    try:
        yield log
    finally:
        _log.reset(token)


class Method:
    """A method of a converted network or part that takes volumes as a call of the module does.

    It lies in the module's own dictionary, so it refers to the module weakly: a network that nobody
    holds any more is freed at once, with the memory of a graphics card that it may fill.
    """

    def __init__(
        self, module: nn.Module, name: str, setting: Setting, handwritten: bool = False
    ) -> None:
        """Binds a method.

        Args:
            module: the network or part.
            name: the name that the method has in its class.
            setting: how the module is lifted.
            handwritten: whether it may call autograd functions with a backward of their own.
        """
        self.of = weakref.ref(module)
        self.name, self.setting, self.handwritten = name, setting, handwritten

    @property
    def module(self) -> nn.Module:
        """The network or part."""
        module = self.of()
        if module is None:
            raise UsageError(
                f"the network of this {self.name!r} is gone: keep it in a variable, e.g. "
                f"net3d = thirdaxis.convert(net); net3d.{self.name}(volume)"
            )
        return module

    def __getstate__(self) -> dict[str, Any]:
        """The module itself, for copies and pickles, which know their own copy of it."""
        return vars(self) | {"of": self.module}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Refers to the module weakly again."""
        vars(self).update(state, of=weakref.ref(state["of"]))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the method, in the carrier if volumes come from outside."""
        method = getattr(type(self.module), self.name)
        if args and isinstance(args[0], Hidden):
            return method(self.module, *args, **kwargs)
        refuse_compiler(self.module)
        ranks = [0 if isinstance(x, Hidden) else x.dim() for x in tensors_in((args, kwargs))]
        if 5 not in ranks or 0 in ranks or is_programs_own(self.module, is_converted):
            return method(self.module, *args, **kwargs)
        return self.inside(args, kwargs)

    def inside(self, args: tuple, kwargs: dict) -> Any:
        """Runs the method in the carrier, on volumes from outside."""
        method = getattr(type(self.module), self.name)
        kwargs, thickness = without_thickness(method, kwargs)
        setting = own_setting(self.module, self.setting)
        args, kwargs = enter((args, kwargs), setting, thickness)
        output = self.run(args, kwargs)
        if self.handwritten:
            given = tensors_in((args, kwargs))
            carry_back(tensors_in(output), given, next(x for x in given if isinstance(x, Hidden)))
        return map_tensors(output, reveal)

    def run(self, args: tuple, kwargs: dict) -> Any:
        """Runs the method of the class, on carriers."""
        return getattr(type(self.module), self.name)(self.module, *args, **kwargs)


class Part(Method):
    """Stands before the forward of a part's class, on the part itself.

    Inside the carrier there is nothing to do but for a part with a setting of its own. Volumes
    (N, C, D, H, W) that come from outside go into the carrier.
    """

    def __init__(
        self,
        module: nn.Module,
        setting: Setting,
        outer: Setting | None = None,
        handwritten: bool = False,
    ) -> None:
        """Binds a part's forward.

        Args:
            module: the part.
            setting: how it is lifted.
            outer: the setting of its surroundings, where it differs, or where the part owns
                parameters of its operator.
            handwritten: whether it may call autograd functions with a backward of their own.
        """
        super().__init__(module, "forward", setting, handwritten)
        self.outer = outer
        self.simple = outer is None and not handwritten
        self.straight = LAYERS.get(type(module))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the part; nearly every call there is has a carrier and nothing to do."""
        module = self.of()
        module = self.module if module is None else module
        if self.simple and args and isinstance(args[0], Hidden):
            if self.straight is not None and type(args[0]) is Hidden and len(args) == 1:
                with Hidden.bare():
                    output = self.straight(module, args[0])
                if output is not NotImplemented:
                    return output
            return type(module).forward(module, *args, **kwargs)
        refuse_compiler(module)
        found = tensors_in((args, kwargs))
        carrier = next((x for x in found if isinstance(x, Hidden)), None)
        if carrier is not None:
            return self._within(module, carrier, args, kwargs)
        if 5 not in [x.dim() for x in found] or is_programs_own(module, is_converted):
            return type(module).forward(module, *args, **kwargs)
        return self.inside(args, kwargs)

    def _within(self, module: nn.Module, carrier: Hidden, args: tuple, kwargs: dict) -> Any:
        outer, call = self.outer, carrier.call
        if outer is not None:
            setting = own_setting(module, self.setting)
            args, kwargs = map_tensors((args, kwargs), lambda x: with_setting(x, setting, call))
        output = self.run(args, kwargs)
        if self.handwritten:
            carry_back(tensors_in(output), tensors_in((args, kwargs)), carrier)
        if outer is None:
            return output
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and type(output) is Hidden:
            output.setting = outer  # it has just been made, and is nobody else's
            return output
        return map_tensors(output, lambda x: with_setting(x, outer, call))


def is_converted(thing: object) -> bool:
    """Whether something is a converted network, a part of one, or a method of these."""
    if isinstance(thing, nn.Module):
        thing = vars(thing).get("forward")
    return isinstance(thing, Method)


def own_setting(module: nn.Module, setting: Setting) -> Setting:
    """A setting with the operator that this very module owns, be it a copy of the one lifted."""
    operator = module._modules.get("fusion")
    return replace(setting, operator=operator) if isinstance(operator, Operator) else setting


def without_thickness(function: Callable, kwargs: dict) -> tuple[dict, torch.Tensor | None]:
    """Takes the thickness of slices off a call of a function that has no such argument itself."""
    if "thickness" not in kwargs or "thickness" in inspect.signature(function).parameters:
        return kwargs, None
    kwargs = dict(kwargs)
    return kwargs, kwargs.pop("thickness")


def enter(values: Any, setting: Setting, thickness: torch.Tensor | None = None) -> Any:
    """Takes every (N, C, D, H, W) tensor of the arguments into the carrier, in one new call.

    Raises:
        InputError: a thickness that is not one number for each volume.
    """
    call = Call(log=_log.get(), thickness=thickness)

    def hidden(x: torch.Tensor) -> torch.Tensor:
        if x.dim() != 5:
            return x
        if thickness is not None:
            check_thickness(thickness, x.shape[0])
        call.remember((x.shape[-2], x.shape[-1]), x.shape[-3])
        return hide_volume(x, setting, call)

    return map_tensors(values, hidden)


def check_thickness(thickness: Any, volumes: int) -> None:
    """Refuses what is not one number for each volume."""
    one_each = isinstance(thickness, torch.Tensor) and thickness.dim() == 1
    if one_each and alike(thickness.shape[0], volumes):
        return
    came = tuple(thickness.shape) if isinstance(thickness, torch.Tensor) else repr(thickness)
    raise InputError(
        f"thickness takes a tensor ({volumes},), the distance in mm between the slices of each "
        f"volume, got {came}"
    )


def reveal(x: torch.Tensor) -> torch.Tensor:
    """The ordinary tensor behind what a part of a converted network sees, e.g. in a hook.

    (N, C, H, W) becomes (N, C, D, H, W), tokens (N, L, C) become (N, D, L, C), and a vector per
    slice becomes the mean over slices, (N, C). In a map with channels last, (N, H, W, C), depth
    comes third as well: (N, H, D, W, C).
    """
    if not isinstance(x, Hidden):
        return x
    with x.bare():
        rank = x.dim() - 1
        if rank <= 2:
            return x.mean(0) if x.is_floating_point() else x.movedim(0, rank)
        return x.movedim(0, 1 if rank == 3 else rank - 2)


def with_setting(x: torch.Tensor, setting: Setting, call: Call) -> torch.Tensor:
    """The same carrier under another setting."""
    if not isinstance(x, Hidden):
        return x
    with x.bare():
        out = hide(x.view_as(x), setting, call)
    out.padded = x.padded
    return out
