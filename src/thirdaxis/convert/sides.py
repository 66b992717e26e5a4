"""Height and width that a 2D program hands its blocks in numbers, beside their tokens."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from thirdaxis.axes import Pair

NAMES = (("H", "W"), ("h", "w"), ("height", "width"), ("Hp", "Wp"))


def pairs_told(args: tuple, kwargs: dict) -> list[Pair]:
    """What may be height and width among arguments: pairs, neighbours, and known names."""
    found = [tuple(value) for value in (*args, *kwargs.values()) if is_pair(value)]
    found += [args[i : i + 2] for i in _neighbours(args)]
    found += [(kwargs[a], kwargs[b]) for a, b in NAMES if a in kwargs and b in kwargs]
    return found


def with_pair(
    args: tuple, kwargs: dict, sides: Sequence[int], turned: Sequence[int]
) -> tuple[tuple, dict]:
    """The arguments with the two sides of a plane wherever those of the slice are told.

    Raises:
        ValueError: sides are told, and there are three to tell.
    """
    told = [pair for pair in pairs_told(args, kwargs) if tuple(pair) == tuple(sides)]
    if not told:
        return args, kwargs
    if len(turned) != 2:
        raise ValueError("it is told two sides")

    def exchanged(value: Any) -> Any:
        is_told = is_pair(value) and tuple(value) == tuple(sides)
        return _like(value, turned) if is_told else value

    positional = list(args)
    for i in _neighbours(args):
        if tuple(args[i : i + 2]) == tuple(sides):
            positional[i : i + 2] = turned
    named = {name: exchanged(value) for name, value in kwargs.items()}
    for names in NAMES:
        if tuple(kwargs.get(name) for name in names) == tuple(sides):
            named |= dict(zip(names, turned, strict=True))
    return tuple(exchanged(value) for value in positional), named


def _is_number(value: Any) -> bool:
    return isinstance(value, int | torch.SymInt) and not isinstance(value, bool)


def is_pair(value: Any) -> bool:
    """Whether a value is two whole numbers."""
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(_is_number, value))


def _neighbours(args: tuple) -> Iterator[int]:
    for i in range(len(args) - 1):
        if _is_number(args[i]) and _is_number(args[i + 1]):
            yield i


def _like(value: Any, turned: Sequence[int]) -> Any:
    return torch.Size(turned) if isinstance(value, torch.Size) else type(value)(turned)
