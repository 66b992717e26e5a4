"""Lesions with their boxes and outlines, to be looked at."""

from pathlib import Path

import numpy as np
from PIL import Image

from thirdaxis.atomic import atomic_path
from thirdaxis.data.lesions.key_slice import KeySlice, LesionSet
from thirdaxis.data.lesions.masks import Masks
from thirdaxis.data.lesions.pixels import slice_pixels
from thirdaxis.data.lesions.rle import decoded

SIDE = 192
AROUND = 2.0
SOFT_TISSUE, WIDE = (-175.0, 275.0), (-1024.0, 400.0)
LUNG = 5
BOX, OUTLINE = (80, 160, 255), (255, 90, 60)


def picture_of_masks(path: str | Path, lesions: LesionSet, masks: Masks, count: int = 10) -> int:
    """Draws lesions spread evenly over a set, five a row, box in blue and outline in red.

    Args:
        path: a PNG file; its folder must exist.
        lesions: the set.
        masks: its outlines, see `masks_of`.
        count: of lesions.

    Returns:
        How many were drawn: fewer where the set has fewer.

    Raises:
        OSError: where it cannot be written.
    """
    every = [(one, number) for one in lesions.slices for number in range(len(one.boxes))]
    places = np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int))
    tiles = [_tile(lesions, *every[int(place)], masks) for place in places]
    columns = min(5, max(len(tiles), 1))
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((max(rows, 1) * SIDE, columns * SIDE, 3), np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // columns * SIDE, place % columns * SIDE
        sheet[top : top + SIDE, left : left + SIDE] = tile
    with atomic_path(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
    return len(tiles)


def _tile(lesions: LesionSet, one: KeySlice, number: int, masks: Masks) -> np.ndarray:
    hu = lesions.read(one, 1, None)[0]
    lung = one.kinds is not None and int(one.kinds[number]) == LUNG
    grey = slice_pixels(hu, WIDE if lung else SOFT_TISSUE, shift=0).byte().numpy()
    x1, y1, x2, y2 = one.boxes[number].tolist()
    half = max(AROUND * max(x2 - x1, y2 - y1) / 2, 12.0)
    # Each pixel of the tile and where it lies in the slice.
    steps = (np.arange(SIDE) + 0.5) / SIDE * 2 * half - half
    x, y = (x1 + x2) / 2 + steps, (y1 + y2) / 2 + steps
    rows, columns = (
        np.rint(place).astype(int).clip(0, size - 1)
        for place, size in zip((y, x), one.size, strict=True)
    )
    tile = np.repeat(grey[np.ix_(rows, columns)][..., None], 3, axis=2)
    inside = np.logical_and.outer((y >= y1) & (y <= y2), (x >= x1) & (x <= x2))
    tile[_edge(inside)] = BOX
    tile[_edge(decoded(masks[one.name][number])[np.ix_(rows, columns)] > 0)] = OUTLINE
    return tile


def _edge(mask: np.ndarray) -> np.ndarray:
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return mask & ~inner
