"""Which slices of a series a detector sees for each key slice, and where they lie between them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thirdaxis.data.lesions.stack import SNAP, slice_weights

Mix = tuple[tuple[int, float], ...]
"""A slice between slices: the number of each and its weight; weights add up to 1."""


def mixes_around(
    count: int, depth: int, spacing: float, interval: float | None, legacy: bool = False
) -> list[list[Mix]]:
    """The stack of each slice of a series, as in training.

    Beyond the ends of the series the last slice stands in.

    Args:
        count: slices of the series.
        depth: of a stack, odd.
        spacing: mm from slice to slice.
        interval: mm between the slices of a stack; none takes the series' own.
        legacy: see `slice_weights`.

    Returns:
        For each key slice its `depth` slices.
    """
    offsets, weights = slice_weights(depth, spacing, interval, legacy)
    rows = [
        [(offset, share) for offset, share in zip(offsets, row, strict=True) if share]
        for row in weights.tolist()
    ]
    return [[_within(row, key, count) for row in rows] for key in range(count)]


@dataclass(frozen=True)
class Grid:
    """A series resampled along depth.

    Args:
        mixes: the slices of the grid, from the first slice of the series on.
        nearest: for each slice of the series the slice of the grid nearest to it.
    """

    mixes: list[Mix]
    nearest: list[int]


def depth_grid(count: int, spacing: float, interval: float | None) -> Grid:
    """Places an interval apart through a series.

    Args:
        count: slices of the series.
        spacing: mm from slice to slice.
        interval: mm between the places; none takes the series' own slices.
    """
    if interval is None:
        return Grid([((number, 1.0),) for number in range(count)], list(range(count)))
    step = interval / spacing
    places = [number * step for number in range(math.floor((count - 1) / step + SNAP) + 1)]
    mixes = []
    for place in places:
        below = min(math.floor(place + SNAP), count - 1)
        share = place - below
        mix = [(below, 1 - share), (below + 1, share)] if share > SNAP else [(below, 1.0)]
        mixes.append(_within(mix, 0, count))
    last = len(places) - 1
    nearest = [min(math.floor(number / step + 0.5), last) for number in range(count)]
    return Grid(mixes, nearest)


def mixed(series: Tensor, wanted: Sequence[Mix]) -> Tensor:
    """The slices ``(M, H, W)`` of a series ``(D, H, W)`` that are wanted."""
    found = []
    for mix in wanted:
        whole = series[mix[0][0]].float() * mix[0][1]
        for number, share in mix[1:]:
            whole = whole + series[number].float() * share
        found.append(whole)
    return torch.stack(found)


def _within(row: Sequence[tuple[int, float]], key: int, count: int) -> Mix:
    found: dict[int, float] = {}
    for offset, share in row:
        number = min(max(key + offset, 0), count - 1)
        found[number] = found.get(number, 0.0) + share
    return tuple(sorted(found.items()))
