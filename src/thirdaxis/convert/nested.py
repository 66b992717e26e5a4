"""Tensors inside tuples, lists, mappings and dataclasses: found, replaced, taken apart."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch


def mapped(value: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """Applies a function to everything of one kind in a nest; the rest stays what it is."""
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(part, kind, function) for part in value))
    if isinstance(value, tuple | list):
        return type(value)([mapped(part, kind, function) for part in value])
    if isinstance(value, Mapping):
        out: Any = {} if type(value) is dict else copy.copy(value)
        for key, part in value.items():
            out[key] = mapped(part, kind, function)
        return out
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
        new = {name: mapped(part, kind, function) for name, part in parts.items()}
        return replace(value, **{name: new[name] for name in new if new[name] is not parts[name]})
    return value


def map_tensors(value: Any, function: Callable[[torch.Tensor], Any]) -> Any:
    """Applies a function to every tensor in a nest."""
    return mapped(value, torch.Tensor, function)


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Every tensor in a nest, in order."""
    found: list[torch.Tensor] = []
    taken_apart(value, found)
    return found


@dataclass(frozen=True)
class Place:
    """Where a tensor stood in an answer that holds other things too, such as None."""

    number: int


def taken_apart(value: Any, found: list[torch.Tensor]) -> Any:
    """The nest with a `Place` for each tensor, which is appended to ``found``."""

    def take(x: torch.Tensor) -> Place:
        found.append(x)
        return Place(len(found) - 1)

    return map_tensors(value, take)


def put_together(value: Any, tensors: Sequence[torch.Tensor]) -> Any:
    """The nest with these tensors in their places."""
    return mapped(value, Place, lambda place: tensors[place.number])
