"""How much of one box another one covers, and whether a point lies in it."""

import numpy as np

from thirdaxis.errors import InputError


def iou(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each found box with each true one.

    Sides count pixels: a box from x1 to x2 is x2 - x1 + 1 wide, as in the published evaluations on
    DeepLesion (Yang et al., "AlignShift", MICCAI 2020).

    Args:
        found: ``(K, 4)``, x1, y1, x2, y2 in pixels.
        truth: ``(L, 4)``.

    Returns:
        ``(K, L)``, 0 to 1.

    Raises:
        InputError: boxes of another shape.
    """
    common = _common(found, truth)
    return common / (_areas(found)[:, None] + _areas(truth)[None] - common)


def iobb(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over the found box's own area, kind to boxes that mark a part of a lesion.

    Source: Yan et al., "3D Context Enhanced Region-Based Convolutional Neural Network for
    End-to-End Lesion Detection", MICCAI 2018.

    Args:
        found: ``(K, 4)``, x1, y1, x2, y2 in pixels; sides count pixels as in `iou`.
        truth: ``(L, 4)``.

    Returns:
        ``(K, L)``, 0 to 1.

    Raises:
        InputError: boxes of another shape.
    """
    return _common(found, truth) / _areas(found)[:, None]


def contains(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Which found points lie in which true boxes, in any number of dimensions.

    Args:
        found: ``(K, n)`` points.
        truth: ``(L, 2n)`` boxes: n lower ends, then n upper ends, which belong to the box.

    Returns:
        ``(K, L)``, 1 inside and 0 outside.

    Raises:
        InputError: boxes of other than twice as many numbers as the points.
    """
    if found.ndim != 2 or truth.ndim != 2 or truth.shape[1] != 2 * found.shape[1]:
        raise InputError(
            f"points (K, n) need boxes (L, 2n), not {tuple(found.shape)} and {tuple(truth.shape)}"
        )
    low, high = np.split(truth, 2, axis=1)
    within = (found[:, None] >= low[None]) & (found[:, None] <= high[None])
    return within.all(axis=2).astype(float)


def _common(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    for boxes in (found, truth):
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise InputError(f"boxes are (K, 4): x1, y1, x2, y2, not {tuple(boxes.shape)}")
    low = np.maximum(found[:, None, :2], truth[None, :, :2])
    high = np.minimum(found[:, None, 2:], truth[None, :, 2:])
    return np.clip(high - low + 1, 0, None).prod(axis=2)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1)
