"""The carrier: a tensor that hides its depth axis from a 2D program.

The program sees (N, C, H, W). The tensor holds depth as dimension 0 of a strided view, while memory
stays (N, C, D, H, W): negative dimensions and right-aligned broadcasting then work unchanged, and a
positive dimension is one higher. Every call of the program goes through the rule table below;
what has no rule runs slice by slice under ``torch.vmap``.

Settings travel on the tensors themselves, never in a global, so that threads, nested calls and
recomputation in the backward pass (gradient checkpointing) each see their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from thirdaxis.axes import Pair, alike
from thirdaxis.convert.nested import map_tensors, mapped, tensors_in
from thirdaxis.convert.private import is_fresh, is_stand_in, plain, shell, to_depth_first
from thirdaxis.errors import ThirdaxisError
from thirdaxis.fusion.base import Fusion, Operator

Rule = Callable[[Any, tuple, dict], Any]
RULES: dict[Any, Rule] = {}
LAYERS: dict[type, Callable[[Any, Any], Any]] = {}


class ConversionError(ThirdaxisError, RuntimeError):
    """A network does something on a volume for which there is no rule, or no sense."""


@dataclass
class Call:
    """State of one call of a converted network.

    Attributes:
        depths: slices first seen at each (height, width), so that a later resize can restore them.
        log: spatial convolutions as they run, where somebody asked for it.
        thickness: distance between the slices of each volume, (N,) in mm, where the caller gave it.
        planes: heights and widths that convolutions made, in order.
        grids: where the tokens of blocks lie and their positions, as told when they first ran.
        plane: axes that the program's height and width are, inside a block that was turned.
    """

    depths: list[tuple[Pair, int]] = field(default_factory=list)
    log: list[Any] | None = None
    thickness: torch.Tensor | None = None
    planes: list[Pair] = field(default_factory=list)
    grids: dict[Any, Any] = field(default_factory=dict)
    plane: str = "HW"

    def remember(self, plane: Pair, depth: int) -> None:
        """Notes how many slices there are at this height and width, the first time."""
        if self.depth_at(plane) is None:
            self.depths.append((plane, depth))

    def depth_at(self, plane: Pair) -> int | None:
        """Slices there were at this height and width; symbolic sizes are not hashed."""
        for (height, width), depth in reversed(self.depths):
            if alike(height, plane[0]) and alike(width, plane[1]):
                return depth
        return None


@dataclass(frozen=True)
class Setting:
    """How a part of a network is lifted.

    Attributes:
        fusion: how its convolutions look along depth.
        depth_stride: whether depth is downsampled wherever height and width are.
        statistics: ``"volume"`` where global pooling and group norms take in all slices,
            ``"slice"`` where every slice has its own.
        operator: inside a convolution that owns parameters of its operator, that operator.
    """

    fusion: Fusion
    depth_stride: bool
    statistics: str
    operator: Operator | None = None

    @property
    def acting(self) -> Fusion | Operator:
        """What convolves."""
        return self.fusion if self.operator is None else self.operator


class Hidden(torch.Tensor):
    """A volume that a 2D program takes for a picture."""

    setting: Setting
    call: Call
    padded: tuple[str, tuple[int, int]] | None = None
    bare: ClassVar[Any] = plain

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Sends a call of the program to its rule."""
        with cls.bare():
            return RULES.get(func, RULES[None])(func, args, kwargs or {})


class Traced(Hidden):
    """The same for the stand-ins of a tracer, which cannot change class: a shell around one.

    Its rules see the shell; what they do to it happens to the tensor inside.
    """

    stand_in: torch.Tensor
    in_rule: ClassVar[ContextVar[bool]] = ContextVar("thirdaxis_in_rule", default=False)

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Traced:
        """Wraps a tensor of a tracer."""
        out = shell(cls, inner)
        out.stand_in = inner
        return out

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Sends a call of the program to its rule, and a call of a rule to the tensors inside."""
        if cls.in_rule.get():
            return _on_inner(func, args, kwargs or {})
        with cls.bare():
            out = RULES.get(func, RULES[None])(func, args, kwargs or {})
        first = args[0] if args else None
        if not isinstance(out, Traced) or not isinstance(first, Traced):
            return out
        return first if out.stand_in is first.stand_in else out

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """What reaches the shell itself, past every rule, has no sense."""
        raise ConversionError(f"{func} cannot be traced on a volume; run the network as it is")

    @classmethod
    @contextmanager
    def bare(cls) -> Iterator[None]:
        """Inside, calls reach the tensors in the shells."""
        token = cls.in_rule.set(True)
        try:
            yield
        finally:
            cls.in_rule.reset(token)


def _on_inner(func: Any, args: tuple, kwargs: dict) -> Any:
    """A call of a rule on the tensors inside the shells.

    In an export, what would happen in place gives the shell a new tensor: for some such functions
    torch asks how the tensor lies in memory, which would bind the graph to the example's sizes.
    """
    first = args[0] if args else None
    fresh = out_of_place(func, kwargs) if torch.compiler.is_exporting() else None
    inner_args, inner_kwargs = mapped((args, kwargs), Traced, _unwrapped)
    if fresh is None or not isinstance(first, Traced):
        return func(*inner_args, **inner_kwargs)
    inner_kwargs.pop("inplace", None)
    first.stand_in = fresh(*inner_args, **inner_kwargs)
    return first.stand_in


def out_of_place(func: Any, kwargs: dict) -> Any:
    """The function that returns what this one writes into its first argument, if it does so."""
    name = getattr(func, "__name__", "")
    if kwargs.get("inplace"):
        return func
    if name.startswith("__i") and name != "__invert__":
        return getattr(torch.Tensor, f"__{name[3:]}", None)
    if not name.endswith("_") or name.endswith("__"):
        return None
    spaces = (torch.Tensor, torch, torch.nn.functional)
    return next((f for space in spaces if (f := getattr(space, name[:-1], None))), None)


def _unwrapped(shell: Traced) -> torch.Tensor:
    with plain():
        outside = shell.grad_fn
    if outside is not None:
        raise ConversionError(
            f"{type(outside).__name__}, a handwritten autograd function or a reentrant "
            "checkpoint, cannot be compiled for training on volumes: compile under "
            "torch.no_grad(), or give the checkpoint use_reentrant=False"
        )
    return shell.stand_in


def hide(inner: torch.Tensor, setting: Setting, call: Call) -> Hidden:
    """Takes a tensor whose dimension 0 is depth into the carrier."""
    out = Traced(inner) if is_stand_in(inner) else inner.as_subclass(Hidden)
    out.setting, out.call = setting, call
    return out


def hide_volume(volume: torch.Tensor, setting: Setting, call: Call) -> Hidden:
    """Takes (N, C, D, H, W) into the carrier."""
    view = volume.permute(2, 0, 1, 3, 4)
    return become(view, setting, call) if type(view) is torch.Tensor else hide(view, setting, call)


def become(fresh: Any, setting: Setting, call: Call) -> Hidden:
    """Makes a tensor that nobody else holds the carrier itself, not a view behind one.

    An in-place operation on a view costs autograd copies of the whole gradient, and a 2D program
    does not know that it has one.
    """
    fresh.__class__ = Hidden
    fresh.setting, fresh.call = setting, call
    return fresh


def hide_volume_like(volume: torch.Tensor, source: Hidden) -> Hidden:
    """Takes the (N, C, D, H, W) that a rule returns into the carrier, as another one is."""
    if not is_fresh(volume):
        return hide_volume(volume, source.setting, source.call)
    to_depth_first(volume)
    return become(volume, source.setting, source.call)


def hide_like(result: Any, source: Hidden) -> Any:
    """Takes every plain tensor of a rule's result into the carrier; hands the rest through."""
    if isinstance(result, Hidden):
        return result
    if isinstance(result, torch.Tensor):
        take_in = become if is_fresh(result) else hide
        return take_in(result, source.setting, source.call)
    return map_tensors(result, lambda x: hide_like(x, source))


def volume_of(x: Hidden) -> torch.Tensor:
    """The (N, C, D, H, W) view of what the program sees as (N, C, H, W)."""
    return x.permute(1, 2, 0, 3, 4)


def hidden_in(value: Any) -> Iterator[Hidden]:
    """Every carrier in arguments, in order."""
    return (x for x in tensors_in(value) if isinstance(x, Hidden))


def first_hidden(args: tuple, kwargs: dict) -> Hidden:
    """The carrier whose settings a result inherits."""
    for value in args:
        if isinstance(value, Hidden):
            return value
    return next(hidden_in((args, kwargs)))


def layer(*kinds: type) -> Callable[[Callable], Callable]:
    """Enters a short cut for the layers of these classes: the layer and its carrier, to the rule.

    Between large activations all Python is read from memory anew; a short cut spares the layer's
    own code and two dispatches. It returns ``NotImplemented`` for what it leaves to them.
    """

    def enter(handler: Callable) -> Callable:
        LAYERS.update(dict.fromkeys(kinds, handler))
        return handler

    return enter


def rule(*functions: Any) -> Callable[[Rule], Rule]:
    """Enters a rule for these functions, those of them that this torch knows (not ``None``)."""

    def enter(handler: Rule) -> Rule:
        RULES.update({function: handler for function in functions if function is not None})
        return handler

    return enter
