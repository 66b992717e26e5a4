"""Peaks of a heat map: what is highest within a window around it."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def window_voxels(window: Sequence[float], spacing: Sequence[float]) -> tuple[int, int, int]:
    """A window in mm as an odd number of voxels along each axis, as many as lie whole in it.

    Args:
        window: mm along (d, h, w), around a voxel's centre.
        spacing: mm from voxel to voxel.

    Returns:
        1 or more along each.
    """
    d, h, w = (
        2 * int(length / 2 / step + 1e-6) + 1 for length, step in zip(window, spacing, strict=True)
    )
    return d, h, w


def peaks(
    heat: np.ndarray, window: tuple[int, int, int], least: float = 0.0, most: int = 100
) -> tuple[np.ndarray, np.ndarray]:
    """Non-maximum suppression in three dimensions by a maximum filter.

    A voxel is a peak where nothing in the window around it is higher. Of equal ones in one window
    the first is taken, by d, then h, then w.

    Args:
        heat: (D, H, W).
        window: odd numbers of voxels along (d, h, w).
        least: the lowest peak that counts.
        most: peaks at most, the highest ones.

    Returns:
        (K, 3) voxels (d, h, w), the highest first, and (K,) their heights.
    """
    highest = heat == ndimage.maximum_filter(heat, window, mode="nearest")
    places = np.argwhere(highest & (heat >= least))
    heights = heat[tuple(places.T)]
    order = np.argsort(-heights, kind="stable")
    reach = np.array(window) // 2
    kept: list[np.ndarray] = []
    for place in places[order]:
        if len(kept) == most:
            break
        # Two peaks in one window are equal, as on a plateau.
        if not kept or not (np.abs(np.array(kept) - place) <= reach).all(axis=1).any():
            kept.append(place)
    found = np.array(kept, dtype=int).reshape(-1, 3)
    return found, heat[tuple(found.T)]
