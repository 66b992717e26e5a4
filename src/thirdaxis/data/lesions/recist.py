"""RECIST: the long diameter of a lesion in a slice, and the longest one across it."""

import numpy as np
from contourpy import contour_generator

from thirdaxis.errors import InputError

STEPS = 65


def recist(picture: np.ndarray) -> np.ndarray:
    """Measures what stands out of a picture, at half of its highest value.

    Source: Eisenhauer et al., "New response evaluation criteria in solid tumours (RECIST 1.1)",
    European Journal of Cancer 45(2), 2009.

    Args:
        picture: (h, w), 0 outside the lesion; of several parts the one with the longest outline.

    Returns:
        (8,) x and y of the ends of the long, then of the short diameter, in pixels from 0.

    Raises:
        InputError: nothing stands out.
    """
    if not picture.size or not picture.max() > 0:
        raise InputError("nothing stands out of the picture to be measured")
    lines = contour_generator(z=np.pad(picture, 1)).lines(float(picture.max()) / 2)
    outline = max(map(np.asarray, lines), key=len) - 1.0
    if np.array_equal(outline[0], outline[-1]):
        outline = outline[:-1]
    apart = np.linalg.norm(outline[:, None] - outline[None], axis=2)
    first, last = sorted(np.unravel_index(apart.argmax(), apart.shape))
    start, end = outline[first], outline[last]
    along = (end - start) / apart.max()
    across = np.array([-along[1], along[0]])
    steps = np.linspace(0, apart.max(), STEPS)
    sides = outline[first : last + 1], np.concatenate([outline[last:], outline[: first + 1]])
    heights = [_height(side, start, along, across, steps) for side in sides]
    widest = int(np.abs(heights[0] - heights[1]).argmax())
    short = [start + steps[widest] * along + height[widest] * across for height in heights]
    return np.concatenate([start, end, *short])


def extent(ends: np.ndarray, margin: float) -> np.ndarray:
    """The box around both diameters, with a margin on all sides.

    Args:
        ends: (8,), as `recist` gives them.
        margin: pixels.

    Returns:
        (4,) x1, y1, x2, y2 in pixels from 0.
    """
    points = ends.reshape(4, 2)
    return np.concatenate([points.min(axis=0) - margin, points.max(axis=0) + margin])


def _height(
    side: np.ndarray, start: np.ndarray, along: np.ndarray, across: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """How far one side of the outline lies from the long diameter, at steps along it."""
    places = (side - start) @ along
    order = np.argsort(places, kind="stable")
    return np.interp(steps, places[order], ((side - start) @ across)[order])
