"""What becomes of a call that has no rule: it runs on every slice, or says why it cannot."""

import sys
from types import FrameType
from typing import Any

import torch

from thirdaxis.convert.carrier import RULES, ConversionError, Hidden, Traced, hidden_in, hide_like
from thirdaxis.convert.nested import mapped, put_together, taken_apart


def slice_by_slice(func: Any, args: tuple, kwargs: dict) -> Any:
    """What has no rule: the function on every slice, vectorised over depth."""
    inputs = list(hidden_in((args, kwargs)))
    tensors = [x.stand_in if isinstance(x, Traced) else x.as_subclass(torch.Tensor) for x in inputs]

    answer: list[Any] = []

    def on_slices(*slices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rest = iter(slices)
        inside = mapped((args, kwargs), Hidden, lambda _: next(rest))
        found: list[torch.Tensor] = []
        answer[:] = [taken_apart(func(*inside[0], **inside[1]), found)]
        return tuple(found)

    try:
        result = torch.vmap(on_slices, randomness="different")(*tensors)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError) as error:
        raise failure(func, inputs, error) from error
    return put_together(answer[0], hide_like(result, inputs[0]))


RULES[None] = slice_by_slice


def failure(func: Any, inputs: list[Hidden], error: Exception) -> ConversionError:
    """One line on why a call of the program cannot run on a volume, and what to do."""
    depths = sorted({x.shape[0] for x in inputs})
    name = getattr(func, "__name__", str(func))
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if len(depths) > 1:
        advice = "convert with depth_stride=False, or for one branch by overrides"
        reason = f"branches with {' and '.join(map(str, depths))} slices meet"
    else:
        advice = "there is no rule for it: replace it in the 2D network, or report the network"
    return ConversionError(f"{name} in {where()!r}: {reason}; {advice}")


def where() -> str:
    """Name of the module whose forward is running, found on the stack."""
    innermost: torch.nn.Module | None = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_locals.get("self")
        if isinstance(module, torch.nn.Module):
            innermost = innermost if innermost is not None else module
            if "_thirdaxis" in vars(module):
                names = {id(part): name for name, part in module.named_modules()}
                return names.get(id(innermost), type(innermost).__name__) or "(the network)"
        frame = frame.f_back
    return type(innermost).__name__ if innermost is not None else "(the network)"
