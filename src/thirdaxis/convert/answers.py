"""Answers of any make-up, taken apart into tensors and the rest, and put together again."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Place:
    """Where a tensor stood in an answer that holds other things too, such as None."""

    number: int


def tensors_out(value: Any, found: list[torch.Tensor]) -> Any:
    """The answer with a `Place` for each tensor, which is appended to ``found``."""
    if isinstance(value, torch.Tensor):
        found.append(value)
        return Place(len(found) - 1)
    if isinstance(value, tuple | list):
        parts = [tensors_out(part, found) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {key: tensors_out(part, found) for key, part in value.items()}
    return value


def tensors_in(value: Any, tensors: tuple[torch.Tensor, ...]) -> Any:
    """The answer with these tensors in their places."""
    if isinstance(value, Place):
        return tensors[value.number]
    if isinstance(value, tuple | list):
        parts = [tensors_in(part, tensors) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {key: tensors_in(part, tensors) for key, part in value.items()}
    return value
