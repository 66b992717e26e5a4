"""Masks as run lengths, in the uncompressed form of COCO."""

from typing import TypedDict

import numpy as np


class Rle(TypedDict):
    """A mask: height and width, and the lengths of runs of 0 and 1 by turns, down the columns."""

    size: list[int]
    counts: list[int]


def encoded(mask: np.ndarray) -> Rle:
    """Run lengths of a mask.

    Args:
        mask: ``(H, W)``; what is not 0 belongs to it.

    Returns:
        The first run is of 0 and may be empty.
    """
    flat = np.concatenate([[False], mask.T.ravel() != 0])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    ends = [0, *changes.tolist(), mask.size]
    counts = np.diff(ends).tolist()
    return {"size": list(mask.shape), "counts": counts if mask.size else []}


def decoded(rle: Rle) -> np.ndarray:
    """The mask of run lengths.

    Args:
        rle: from `encoded`.

    Returns:
        ``(H, W)`` uint8, 0 and 1.

    Raises:
        ValueError: runs that do not fill the mask.
    """
    height, width = rle["size"]
    runs = np.asarray(rle["counts"], dtype=np.int64)
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"runs of {runs.sum()} pixels in a mask of {height} x {width}")
    values = (np.arange(len(runs)) % 2).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)
