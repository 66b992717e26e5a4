"""Things in a phantom's lung: solids that end in depth, and vessels that go on."""

from dataclasses import dataclass

import numpy as np

LUNG = -850.0
"""HU of the lung around them."""
FINE = 0.5
"""mm from one fine slice to the next; stored slices are averages of several."""
WAVES, UNEVEN = 6, 0.7


@dataclass(frozen=True)
class Grid:
    """The fine slices of a series.

    Args:
        thickness: of the stored slices, mm; a multiple of `FINE`.
        each_side: stored slices on either side of the key slice.
        pixel: mm.
    """

    thickness: float
    each_side: int
    pixel: float

    @property
    def group(self) -> int:
        """Fine slices that make a stored one."""
        return round(self.thickness / FINE)

    @property
    def heights(self) -> np.ndarray:
        """(Z,) of the fine slices in mm, 0 in the middle of the key slice."""
        count = (2 * self.each_side + 1) * self.group
        return (np.arange(count) - (count - 1) / 2) * FINE

    @property
    def key(self) -> slice:
        """The fine slices that make the key slice."""
        return slice(self.each_side * self.group, (self.each_side + 1) * self.group)

    def stored(self, fine: np.ndarray) -> np.ndarray:
        """(S, …) stored slices, the averages of (Z, …) fine ones."""
        return fine.reshape(-1, self.group, *fine.shape[1:]).mean(axis=1)


def lens(random: np.random.Generator, grid: Grid) -> np.ndarray:
    """A solid of a random shape: an uneven ellipsoid around the key slice.

    Args:
        random: draws semi-axes of 2 to 4.2 mm in the slice and 2.2 to 3.4 mm across, an uneven
            outline, a height of up to 0.3 mm off the key slice, and 450 to 900 HU above the lung.
        grid: to draw on.

    Returns:
        (Z, n, n) HU above the lung; n is odd and its middle pixel the centre, nearly.
    """
    long = random.uniform(2.0, 4.2)
    short, half = long * random.uniform(0.7, 1.0), random.uniform(2.2, 3.4)
    turn, centre = random.uniform(0, np.pi), random.uniform(-0.5, 0.5, 2) * grid.pixel
    off, above = random.uniform(-0.3, 0.3), random.uniform(450, 900)
    reach = int(np.ceil(1.35 * long / grid.pixel)) + 2
    axis = np.arange(-reach, reach + 1) * grid.pixel
    x, y = axis[None] - centre[0], axis[:, None] - centre[1]
    angle, far = np.arctan2(y, x), np.hypot(x, y)
    edge = long * short / np.hypot(short * np.cos(angle - turn), long * np.sin(angle - turn))
    for waves in range(2, 6):
        edge = edge * (1 + random.normal(0, 0.03) * np.cos(waves * angle + random.uniform(0, 7)))
    level = np.sqrt(np.clip(1 - ((grid.heights - off) / half) ** 2, 0, None))[:, None, None]
    # A pixel that the edge crosses is covered in part.
    covered = np.clip((edge * level - far) / grid.pixel + 0.5, 0, 1) * (level > 0)
    return above * covered * _marbled(random, x, y)


def _marbled(random: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, n) around 1: waves of 2.5 to 5 mm in all directions, as no tissue is even."""
    found = np.ones(np.broadcast_shapes(x.shape, y.shape))
    for _ in range(WAVES):
        turn, wave = random.uniform(0, 2 * np.pi), 2 * np.pi / random.uniform(2.5, 5.0)
        along = x * np.cos(turn) + y * np.sin(turn)
        found += UNEVEN / WAVES * np.cos(wave * along + random.uniform(0, 2 * np.pi))
    return found


def section(solid: np.ndarray, grid: Grid) -> np.ndarray:
    """(n, n) what the key slice shows of a solid."""
    return np.asarray(solid[grid.key].mean(axis=0))


@dataclass(frozen=True)
class Vessel:
    """What a key slice shows of a solid, carried on through slices along a path.

    Args:
        section: (n, n) HU above the lung.
        path: (Z, 2) row and column, in pixels from its place on the key slice, of each fine slice.
        there: (Z,) 0 to 1, how much of it is in each fine slice.
    """

    section: np.ndarray
    path: np.ndarray
    there: np.ndarray


def vessel(random: np.random.Generator, grid: Grid, shown: np.ndarray) -> Vessel:
    """A vessel that crosses the key slice at a right angle, and drifts from there on both ways.

    As it stands still within the key slice, that slice shows of it what it shows of the solid
    that the section was taken from: nothing in it tells the two apart.

    Args:
        random: draws directions, and 0.05 to 0.3 mm of drift a mm.
        grid: to run through.
        shown: (n, n), the section.
    """
    beyond = np.clip(np.abs(grid.heights) - grid.thickness / 2, 0, None)
    up = random.uniform(0, 2 * np.pi)
    angles = np.where(grid.heights > 0, up, up + np.pi + random.normal(0, 0.5))
    drift = random.uniform(0.05, 0.3) * beyond / grid.pixel
    path = np.stack([drift * np.sin(angles), drift * np.cos(angles)], axis=1)
    return Vessel(shown, path, np.ones(len(beyond)))


def passer(
    random: np.random.Generator, grid: Grid, shown: np.ndarray, side: int, gap: tuple[float, float]
) -> Vessel:
    """A vessel that runs up to the key slice and ends before it.

    Such ones make neighbouring slices hold as many things as the key slice does, at nodules' places
    too, so that a slice by itself never tells: only whether things go on from one to the next.

    Args:
        random: draws the path, and where it ends.
        grid: to run through.
        shown: (n, n), the section.
        side: 1 above the key slice, -1 below.
        gap: least and most mm between its end and the key slice.
    """
    whole = vessel(random, grid, shown)
    start = grid.thickness / 2 + random.uniform(*gap)
    beyond = side * grid.heights
    there = np.clip((beyond - start) / FINE + 0.5, 0, 1) * (beyond > grid.thickness / 2)
    return Vessel(shown, whole.path, there)


def branch(random: np.random.Generator, grid: Grid, size: int) -> np.ndarray:
    """A thin vessel that runs nearly along the slices, as a lung has many.

    Args:
        random: draws ends up to 25 mm apart, a radius of 0.4 to 0.9 mm and 300 to 800 HU.
        grid: to draw on.
        size: pixels along each side.

    Returns:
        (Z, size, size) HU above the lung, float32.
    """
    side = size * grid.pixel
    height = random.uniform(grid.heights[0], grid.heights[-1])
    middle, turn = random.uniform(0, side, 2), random.uniform(0, np.pi)
    half = random.uniform(6, 12.5) * np.array([np.sin(turn), np.cos(turn)])
    rise, radius = random.uniform(-1.5, 1.5), random.uniform(0.4, 0.9)
    above = random.uniform(300, 800)
    picture = np.zeros((len(grid.heights), size, size), np.float32)
    near = np.flatnonzero(np.abs(grid.heights - height) < abs(rise) + radius + FINE)
    axis = (np.arange(size) + 0.5) * grid.pixel
    row, column = axis[:, None] - middle[0], axis[None] - middle[1]
    share = np.clip((row * half[0] + column * half[1]) / (half @ half), -1, 1)
    flat = (row - share * half[0]) ** 2 + (column - share * half[1]) ** 2
    for number in near:
        far = np.sqrt(flat + (grid.heights[number] - height - share * rise) ** 2)
        picture[number] = above * np.clip((radius - far) / grid.pixel + 0.5, 0, 1)
    return picture
