"""The two hooks by which a converted network takes volumes and returns volumes."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import nn

from thirdaxis.convert.carrier import Call, Hidden, Setting, hide, hide_volume
from thirdaxis.errors import InputError

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


@dataclass(frozen=True)
class Enter:
    """Forward pre-hook of a converted network: volumes go into the carrier."""

    setting: Setting

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Hides the depth of every (N, C, D, H, W) tensor among the arguments."""
        call = Call(log=_log.get())
        seen: list[int] = []

        def enter(x: torch.Tensor) -> torch.Tensor:
            seen.append(x.dim())
            if isinstance(x, Hidden) or x.dim() != 5:
                return x
            hidden = hide_volume(x, self.setting, call)
            call.remember((x.shape[-2], x.shape[-1]), x.shape[-3])
            return hidden

        args, kwargs = map_tensors(args, enter), map_tensors(kwargs, enter)
        if 5 not in seen:
            came = ", ".join(f"rank {rank}" for rank in seen) or "no tensor"
            raise InputError(
                f"{type(module).__name__} was converted to 3D and takes (N, C, D, H, W), got "
                f"{came}; add the depth axis, e.g. x.unsqueeze(2) for a single slice"
            )
        return args, kwargs


@dataclass(frozen=True)
class Leave:
    """Forward hook of a converted network: what leaves the carrier is ordinary tensors again."""

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
        """Reveals every tensor of the output; see `reveal`."""
        return map_tensors(output, reveal)


def reveal(x: torch.Tensor) -> torch.Tensor:
    """The ordinary tensor behind what a part of a converted network sees, e.g. in a hook.

    (N, C, H, W) becomes (N, C, D, H, W), tokens (N, L, C) become (N, D, L, C), and a vector per
    slice becomes the mean over slices, (N, C).
    """
    if not isinstance(x, Hidden):
        return x
    with x.bare():
        rank = x.dim() - 1
        if rank <= 2:
            return x.mean(0) if x.is_floating_point() else x.movedim(0, rank)
        return x.movedim(0, 1 if rank == 3 else rank - 2)


@dataclass(frozen=True)
class EnterPart:
    """Forward pre-hook of a part with settings of its own."""

    setting: Setting

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Gives every carrier among the arguments this part's settings."""

        def enter(x: torch.Tensor) -> torch.Tensor:
            return with_setting(x, self.setting)

        return map_tensors(args, enter), map_tensors(kwargs, enter)


@dataclass(frozen=True)
class LeavePart:
    """Forward hook of a part with settings of its own: those of its surroundings return."""

    setting: Setting

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
        """Gives every carrier of the output the settings of the enclosing part."""
        return map_tensors(output, lambda x: with_setting(x, self.setting))


def with_setting(x: torch.Tensor, setting: Setting) -> torch.Tensor:
    """The same carrier under other settings."""
    if not isinstance(x, Hidden):
        return x
    with x.bare():
        out = hide(x.view_as(x), setting, x.call)
    out.padded = x.padded
    return out


def map_tensors(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Applies a function to every tensor in tuples, lists, mappings and dataclasses."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(part, function) for part in value))
    if isinstance(value, tuple | list):
        return type(value)([map_tensors(part, function) for part in value])
    if isinstance(value, Mapping):
        out: Any = {} if type(value) is dict else copy.copy(value)
        for key, part in value.items():
            out[key] = map_tensors(part, function)
        return out
    if is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: map_tensors(getattr(value, f.name), function) for f in fields(value)}
        return replace(value, **changed)
    return value
