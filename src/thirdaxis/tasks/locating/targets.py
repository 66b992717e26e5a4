"""Heat maps to learn from boxes, and boxes from the peaks of heat maps."""

import math

import numpy as np
import torch
from torch import Tensor

LEAST_SIGMA = 0.5
"""Voxels; a narrower Gaussian could fall between them."""


def gaussians(
    boxes: np.ndarray,
    corner: tuple[int, int, int],
    size: tuple[int, int, int],
    *,
    share: float = 0.25,
    joined: str = "sum",
) -> Tensor:
    """A heat map with a Gaussian of height 1 at the centre of each box.

    Source: Liu et al., "3D Anisotropic Hybrid Network", MICCAI 2018, equation 5, whose covariance
    is read as its inverse and whose height as 1 instead of that of a density; the paper adds up
    the Gaussians and does not tell how wide they are.

    Args:
        boxes: (L, 6) lowest, then highest (d, h, w) in voxels of the volume.
        corner: first voxel (d, h, w) of the map in the volume, below 0 where it begins outside.
        size: of the map.
        share: standard deviation along an axis over the size of the box there, but for
            `LEAST_SIGMA` at least.
        joined: ``sum``, or ``max`` of Gaussians that overlap.

    Returns:
        (1, d, h, w) float32.
    """
    heat = torch.zeros(size)
    for box in boxes:
        middle, sides = (box[:3] + box[3:]) / 2, box[3:] - box[:3]
        along = []
        for axis in range(3):
            sigma = max(share * float(sides[axis]), LEAST_SIGMA)
            steps = torch.arange(size[axis]) + (corner[axis] - float(middle[axis]))
            along.append(torch.exp(-0.5 * (steps / sigma) ** 2))
        one = along[0][:, None, None] * along[1][:, None] * along[2]
        heat = heat + one if joined == "sum" else torch.maximum(heat, one)
    return heat[None]


def box_around(heat: np.ndarray, peak: tuple[int, int, int], share: float = 0.25) -> np.ndarray:
    """The box whose Gaussian would be as wide as a heat map is at half the height of a peak.

    Along each axis the map is followed from the peak to where it has sunk to a half.

    Args:
        heat: (D, H, W).
        peak: a voxel of it; one that is not above 0 has no width, and gets a box of its own size.
        share: as in `gaussians`.

    Returns:
        (6,) lowest, then highest (d, h, w), around the middle of the width, within the volume.
    """
    low, high = np.zeros(3), np.zeros(3)
    for axis in range(3):
        place: list[int | slice] = list(peak)
        place[axis] = slice(None)
        line, at = heat[tuple(place)], peak[axis]
        first, last = at - _fall(line[at::-1]), at + _fall(line[at:])
        # A Gaussian is 2 sqrt(2 ln 2) standard deviations wide at half its height.
        side = (last - first) / (math.sqrt(8 * math.log(2)) * share)
        side = side if heat[peak] > 0 else 1.0
        middle = (first + last) / 2
        low[axis] = max(middle - side / 2, -0.5)
        high[axis] = min(middle + side / 2, len(line) - 0.5)
    return np.concatenate([low, high])


def _fall(line: np.ndarray) -> float:
    """Voxels from the first to where a line sinks to half of it, or to the end and half a voxel."""
    if line[0] <= 0:
        return 0.5
    below = np.flatnonzero(line <= line[0] / 2)
    if not len(below):
        return len(line) - 0.5
    end = int(below[0])
    over, under = float(line[end - 1]), float(line[end])
    return end - 1 + (over - float(line[0]) / 2) / (over - under)
