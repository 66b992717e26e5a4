"""Lesions marked by boxes on single slices: what every reader of such data gives."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class KeySlice:
    """A slice of a series on which lesions were marked.

    Args:
        name: unique in its set: ``SERIES/NUMBER``, such as ``000001_01_01/109``.
        patient: whose series it is.
        boxes: ``(L, 4)`` floats x1, y1, x2, y2 in pixels, counted from 0, x1 < x2 and y1 < y2;
            L is 0 where nothing was found.
        size: height and width of the slice in pixels.
        spacing: mm from slice to slice (nan where unknown), from row to row, from column to column.
        recists: ``(L, 8)``, x and y of the ends of the long, then of the short diameter; none where
            they were not measured.
        kinds: ``(L,)``, 1 bone, 2 abdomen, 3 mediastinum, 4 liver, 5 lung, 6 kidney, 7 soft tissue,
            8 pelvis, -1 unknown; none where no reader told.
        split: ``train``, ``val`` or ``test`` where the set has official parts.
    """

    name: str
    patient: str
    boxes: Tensor
    size: tuple[int, int]
    spacing: tuple[float, float, float]
    recists: Tensor | None = None
    kinds: Tensor | None = None
    split: str | None = None

    def diameters(self) -> Tensor:
        """Long and short diameters ``(L, 2)`` in mm; nan where they were not measured."""
        if self.recists is None:
            return torch.full((len(self.boxes), 2), torch.nan)
        ends = self.recists.reshape(-1, 2, 2, 2)
        apart = (ends[:, :, 1] - ends[:, :, 0]) * torch.tensor([self.spacing[2], self.spacing[1]])
        return apart.norm(dim=-1)


# Gives ``(depth, H, W)`` float32 in HU around a key slice, its own slice in the middle. Arguments:
# the key slice, an odd depth, and the mm between the slices wanted; none takes the neighbours.
SliceReader = Callable[[KeySlice, int, float | None], np.ndarray]


@dataclass(frozen=True)
class LesionSet:
    """Key slices, and how the slices around them are read.

    Args:
        slices: in a fixed order.
        read: called as ``read(key_slice, depth, interval)``.
        origin: where they are from, for errors.
        masks: gives ``(L, H, W)`` bool, the drawn outlines of a key slice's lesions; none where
            they were not drawn.
    """

    slices: tuple[KeySlice, ...]
    read: SliceReader
    origin: str
    masks: Callable[[KeySlice], np.ndarray] | None = None

    def part(self, names: Iterable[str]) -> tuple[KeySlice, ...]:
        """The key slices of these names, in this order."""
        known = {one.name: one for one in self.slices}
        return tuple(known[name] for name in names)
