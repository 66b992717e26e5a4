"""Boxes found on single slices joined to lesions that run through several."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from thirdaxis.errors import UsageError

NESTED = 0.7
"""A lesion with more of its volume than this inside a stronger one is taken for a part of it."""


@dataclass(frozen=True)
class Linking:
    """How boxes become lesions.

    Args:
        overlap: intersection over union from which boxes of two slices may be one lesion.
        gap: mm of slices without a box that a lesion may span.
        score: the least score of a lesion, which is that of its best box.
        member: the least score of a box that belongs to a lesion; the outer slices of a lesion
            score lower than its middle.

    Raises:
        UsageError: a value out of range, or `member` above `score`.
    """

    overlap: float = 0.2
    gap: float = 3.0
    score: float = 0.5
    member: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.overlap <= 1:
            raise UsageError(f"overlap is above 0 and at most 1, not {self.overlap}")
        if not (np.isfinite(self.gap) and self.gap >= 0):
            raise UsageError(f"gap is a length in mm, 0 or more, not {self.gap}")
        if not 0 <= self.member <= self.score <= 1:
            raise UsageError(
                f"scores go from 0 to 1, that of a lesion's boxes no higher than that of a lesion; "
                f"not score={self.score} and member={self.member}"
            )


def link(
    slices: np.ndarray, boxes: np.ndarray, scores: np.ndarray, apart: float, how: Linking
) -> list[np.ndarray]:
    """Joins boxes over slices.

    Boxes of slices next to each other are joined pair by pair, those that overlap most first, a
    box with at most one of an earlier and one of a later slice; then boxes with one empty slice
    between them, and so on up to the gap. What comes out depends neither on the order of the boxes
    nor on which of two equal ones is named first.

    Args:
        slices: ``(K,)`` whole numbers, the slice of each box.
        boxes: ``(K, 4)`` x1, y1, x2, y2 in pixels, both ends inside.
        scores: ``(K,)``, 0 to 1.
        apart: mm between slices.
        how: the settings.

    Returns:
        For each lesion the places of its boxes in the arguments, by slice; the highest score
        first.
    """
    slices, boxes, scores = np.asarray(slices), np.asarray(boxes), np.asarray(scores)
    order = np.lexsort((*boxes.T[::-1], -scores, slices))
    order = order[scores[order] >= how.member]
    after = np.full(len(scores), -1)
    before = np.full(len(scores), -1)
    by_slice = {int(one): order[slices[order] == one] for one in np.unique(slices[order])}
    for empty in range(int(how.gap / apart + 1e-6) + 1):
        for first, second in _pairs(by_slice, empty + 1, boxes, how.overlap):
            if after[first] < 0 and before[second] < 0:
                after[first], before[second] = second, first
    chains = [_chain(start, after) for start in order if before[start] < 0]
    chains = [chain for chain in chains if scores[chain].max() >= how.score]
    chains.sort(key=lambda chain: (-scores[chain].max(), -len(chain)))
    return _without_nested(chains, slices, boxes)


def shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pixels (or voxels) that boxes have in common.

    Args:
        first: ``(M, 2 n)`` lower, then upper ends along n axes, both inside.
        second: ``(K, 2 n)``.

    Returns:
        ``(M, K)``.
    """
    axes = first.shape[-1] // 2
    low = np.maximum(first[:, None, :axes], second[None, :, :axes])
    high = np.minimum(first[:, None, axes:], second[None, :, axes:])
    return (high - low + 1).clip(min=0).prod(-1)


def contents(boxes: np.ndarray) -> np.ndarray:
    """Pixels (or voxels) of boxes ``(K, 2 n)``, both ends inside."""
    axes = boxes.shape[-1] // 2
    return (boxes[:, axes:] - boxes[:, :axes] + 1).prod(-1)


def _pairs(
    by_slice: dict[int, np.ndarray], step: int, boxes: np.ndarray, overlap: float
) -> Iterator[tuple[int, int]]:
    """Boxes so many slices apart that may be one lesion, those of each two slices best first."""
    for number, here in by_slice.items():
        there = by_slice.get(number + step)
        if there is None:
            continue
        common = shared(boxes[here], boxes[there])
        sizes = contents(boxes[here])[:, None] + contents(boxes[there])[None]
        likeness = common / (sizes - common)
        for place in np.argsort(-likeness, axis=None, kind="stable"):
            row, column = divmod(int(place), len(there))
            if likeness[row, column] < overlap:
                break
            yield int(here[row]), int(there[column])


def _chain(start: int, after: np.ndarray) -> np.ndarray:
    found = [int(start)]
    while after[found[-1]] >= 0:
        found.append(int(after[found[-1]]))
    return np.array(found)


def _without_nested(
    chains: list[np.ndarray], slices: np.ndarray, boxes: np.ndarray
) -> list[np.ndarray]:
    """The lesions without those that lie in a stronger one."""
    kept: list[np.ndarray] = []
    spans = np.zeros((0, 6))
    for chain in chains:
        low = [slices[chain].min(), *boxes[chain, :2].min(0)]
        span = np.array([[*low, slices[chain].max(), *boxes[chain, 2:].max(0)]], float)
        if (shared(span, spans) <= NESTED * contents(span)).all():
            kept.append(chain)
            spans = np.concatenate([spans, span])
    return kept
