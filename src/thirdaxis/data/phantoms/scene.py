"""One phantom series: a lung with nodules and vessels that its key slice cannot tell apart."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from thirdaxis.data.lesions.recist import recist
from thirdaxis.data.phantoms.shapes import (
    FINE,
    LUNG,
    Grid,
    Vessel,
    branch,
    passer,
    section,
    vessel,
)
from thirdaxis.errors import InputError

FIELD = 64.0
"""mm along each side of a slice."""
REACH = 15.0
"""mm that are stored on either side of the key slice, or a little more."""
NOISE = 30.0
"""Standard deviation of the noise of a slice of 1 mm, HU."""
APART = 9.0
"""mm between the centres of any two things on the key slice, at least."""
NODULES, VESSELS, BRANCHES = (1, 3), (6, 9), (4, 8)
"""Fewest and most in a series."""
OVER, ASIDE = (0.0, 0.5), (0.25, 1.25)
"""Least and most mm from the key slice to the ends of vessels over nodules, and of others."""

Draw = Callable[[np.random.Generator, Grid], np.ndarray]
"""Draws a solid: (Z, n, n) HU above the lung, n odd, around the key slice."""


@dataclass(frozen=True, eq=False)
class Thing:
    """A nodule, or a vessel that looks like one, on the key slice.

    Args:
        kind: ``nodule`` or ``vessel``.
        recist: (8,) ends of its diameters on the key slice, x and y in pixels from 0.
        contrast: HU above the lung, at its brightest on the key slice.
        covered: whether vessels that look like it, but for a turn, end right over and under it.
        span: lowest and highest mm of a nodule above the key slice's middle; a vessel's is endless.
    """

    kind: str
    recist: np.ndarray
    contrast: float
    covered: bool
    span: tuple[float, float] = (-np.inf, np.inf)


@dataclass(frozen=True, eq=False)
class Scene:
    """A series.

    Args:
        slices: (S, H, W) int16 in HU, the key slice in the middle.
        thickness: mm from slice to slice, and of each.
        pixel: mm.
        things: nodules first.
    """

    slices: np.ndarray
    thickness: float
    pixel: float
    things: tuple[Thing, ...]


def scene(
    random: np.random.Generator, size: int, thickness: float, draw: Draw, covered: float = 0.5
) -> Scene:
    """Draws a series.

    Args:
        random: where all chances come from.
        size: pixels along each side of the 64 mm that a slice shows.
        thickness: mm of each slice, which is the average of fine ones of 0.5 mm.
        draw: draws the solids: nodules are solids, vessels carry on what the key slice shows of
            one.
        covered: share of the nodules over and under which a vessel of the same look ends.
    """
    grid = Grid(thickness, int(np.ceil(REACH / thickness)), FIELD / size)
    above = np.zeros((len(grid.heights), size, size), np.float32)
    for _ in range(int(random.integers(*BRANCHES, endpoint=True))):
        np.maximum(above, branch(random, grid, size), out=above)
    nodules, vessels = (int(random.integers(*span, endpoint=True)) for span in (NODULES, VESSELS))
    things = []
    for number, place in enumerate(_places(random, nodules + vessels, size)):
        solid = draw(random, grid)
        shown = section(solid, grid)
        if number < nodules:
            _put(above, solid, place)
        else:
            _run(above, vessel(random, grid, shown), place)
        corner = place - shown.shape[0] // 2
        ends = recist(shown) + np.tile(corner[::-1], 4)
        kind = "nodule" if number < nodules else "vessel"
        is_covered = kind == "nodule" and bool(random.random() < covered)
        if is_covered:
            _cover(random, above, grid, shown, place)
        span = _span(solid, grid) if kind == "nodule" else (-np.inf, np.inf)
        things.append(Thing(kind, ends, float(shown.max()), is_covered, span))
        diameter = float(np.linalg.norm(ends[2:4] - ends[:2]))
        _pass(random, above, grid, draw, place, diameter)
    blurred = ndimage.gaussian_filter(above, (0, 0.6, 0.6)) + _lung(random, above.shape)
    return Scene(
        np.rint(grid.stored(blurred)).astype(np.int16), thickness, grid.pixel, tuple(things)
    )


def _places(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    """(count, 2) row and column of pixels, apart from each other and from the border."""
    apart, border = APART * size / FIELD, int(np.ceil(APART * size / FIELD))
    found: list[np.ndarray] = []
    for _ in range(10000):
        place = random.integers(border, size - border, 2)
        if all(np.linalg.norm(place - other) >= apart for other in found):
            found.append(place)
        if len(found) == count:
            # Stirred, as those that came first lay in more room.
            return random.permutation(np.array(found))
    raise InputError(f"no place for {count} things {APART} mm apart in {FIELD} mm")


def _span(solid: np.ndarray, grid: Grid) -> tuple[float, float]:
    """Lowest and highest mm of a solid, above the key slice's middle, by half its highest value."""
    heights = grid.heights[(solid > solid.max() / 2).reshape(len(solid), -1).any(axis=1)]
    return float(heights.min()) - FINE / 2, float(heights.max()) + FINE / 2


def _put(above: np.ndarray, solid: np.ndarray, place: np.ndarray) -> None:
    half = solid.shape[1] // 2
    for picture, part in zip(above, solid, strict=True):
        if part.any():
            _paste(picture, part, place - half)


def _run(above: np.ndarray, one: Vessel, place: np.ndarray) -> None:
    corners = place - one.section.shape[0] // 2 + one.path
    for picture, corner, there in zip(above, corners, one.there, strict=True):
        if there:
            low = np.floor(corner).astype(int)
            _paste(picture, there * _moved(one.section, *(corner - low)), low)


def _cover(
    random: np.random.Generator, above: np.ndarray, grid: Grid, shown: np.ndarray, place: np.ndarray
) -> None:
    """Lets vessels end right over and under a nodule, which look like it but for a turn."""
    for side in (1, -1):
        turned = np.rot90(shown, int(random.integers(1, 4)))
        _run(above, passer(random, grid, turned, side, OVER), place)


def _pass(
    random: np.random.Generator,
    above: np.ndarray,
    grid: Grid,
    draw: Draw,
    place: np.ndarray,
    diameter: float,
) -> None:
    """Lets vessels pass by above and below, one in two times each, whatever the thing is."""
    for side in (1, -1):
        angle, far = random.uniform(0, 2 * np.pi), random.uniform(1.3, 2.2) * diameter
        other = np.rint(place + far * np.array([np.sin(angle), np.cos(angle)])).astype(int)
        if random.random() < 0.5:
            shown = section(draw(random, grid), grid)
            _run(above, passer(random, grid, shown, side, ASIDE), other)


def _moved(picture: np.ndarray, down: float, right: float) -> np.ndarray:
    """A picture moved by parts of a pixel, a row and a column larger."""
    height, width = picture.shape
    rows = np.zeros((height + 1, width))
    rows[:-1] = (1 - down) * picture
    rows[1:] += down * picture
    grown = np.zeros((height + 1, width + 1))
    grown[:, :-1] = (1 - right) * rows
    grown[:, 1:] += right * rows
    return grown


def _paste(picture: np.ndarray, part: np.ndarray, corner: np.ndarray) -> None:
    """Puts a part where it is brighter; what leaves the picture is cut."""
    low = np.maximum(corner, 0)
    high = np.minimum(corner + part.shape, picture.shape)
    if (high > low).all():
        target = picture[low[0] : high[0], low[1] : high[1]]
        a, b = low - corner, high - corner
        np.maximum(target, part[a[0] : b[0], a[1] : b[1]], out=target)


def _lung(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Lung tissue, uneven over centimetres and millimetres, with a scanner's noise."""
    depth, size, _ = shape
    found = np.full(shape, LUNG, np.float32)
    for spread, step in ((25.0, size // 8), (15.0, max(size // 32, 2))):
        coarse = (depth // 10 + 2, size // step + 2, size // step + 2)
        field = random.normal(0, spread, coarse).astype(np.float32)
        zoom = [a / b for a, b in zip(shape, coarse, strict=True)]
        found += ndimage.zoom(field, zoom, order=1)
    # Of slices twice as thin the noise is the root of two stronger; the scanner blurs it a little.
    noise = random.normal(0, NOISE * np.sqrt(1 / FINE), shape).astype(np.float32)
    return found + noise
