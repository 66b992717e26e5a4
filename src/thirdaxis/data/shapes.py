"""Synthetic shapes in noise, in 2D and 3D: the proof-of-concept data of the ACS paper.

Yang et al., "Reinventing 2D Convolutions for 3D Images", 2021. The 2D shapes are what the 3D
shapes look like from the side, so that features learnt on the one serve the other.
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from thirdaxis.errors import UsageError

Mask = NDArray[np.bool_]

CLASSES_2D = ("square", "circle", "background")
CLASSES_3D = ("cone", "pyramid", "cube", "cylinder", "ball", "background")
CUBES_AND_BALLS = ("cube", "ball", "background")
SIDE = 48
CELL = 24
SMALLEST, LARGEST = 5, 24
NOISE = 0.5


def _offsets(length: int) -> NDArray[np.floating]:
    """Pixel centres of `length` pixels, measured from their middle."""
    return np.arange(length) - (length - 1) / 2


def square(side: int) -> Mask:
    """A full square, ``(side, side)``."""
    return np.ones((side, side), dtype=bool)


def circle(diameter: int) -> Mask:
    """A disc, ``(diameter, diameter)``: pixel centres within half the diameter of the middle."""
    x = _offsets(diameter)
    return np.hypot(x[:, None], x[None, :]) <= diameter / 2


def cube(side: int) -> Mask:
    """A full cube, ``(side, side, side)``."""
    return np.ones((side, side, side), dtype=bool)


def ball(diameter: int) -> Mask:
    """A ball, ``(diameter,) * 3``: voxel centres within half the diameter of the middle."""
    x2 = _offsets(diameter) ** 2
    return np.sqrt(x2[:, None, None] + x2[:, None] + x2) <= diameter / 2


def cylinder(diameter: int, height: int) -> Mask:
    """A cylinder along the last axis, ``(diameter, diameter, height)``."""
    return np.repeat(circle(diameter)[:, :, None], height, axis=2)


def cone(base: int, height: int) -> Mask:
    """A cone along the last axis, ``(base, base, height)``.

    The radius grows linearly from 0 in the first layer to ``base / 2`` in the last.
    """
    x = _offsets(base)
    return np.hypot(x[:, None], x[None, :])[:, :, None] <= np.linspace(0, base / 2, height)


def pyramid(base: int, height: int) -> Mask:
    """A square pyramid along the last axis, ``(base, base, height)``.

    The half-width grows linearly from 0 in the first layer to ``base / 2`` in the last.
    """
    x = np.abs(_offsets(base))
    return np.maximum(x[:, None], x[None, :])[:, :, None] <= np.linspace(0, base / 2, height)


def quarter_turns(mask: Mask, turns: tuple[int, int, int]) -> Mask:
    """Turns a volume by multiples of 90 degrees in the planes (0, 1), (0, 2) and (1, 2)."""
    for count, plane in zip(turns, ((0, 1), (0, 2), (1, 2)), strict=True):
        mask = np.rot90(mask, count, axes=plane)
    return mask


def random_shape_2d(rng: np.random.Generator) -> tuple[int, Mask]:
    """A square or circle of 5 to 24 pixels.

    Returns:
        Its index in `CLASSES_2D` and its mask, cut to its bounding box.
    """
    label = int(rng.integers(2))
    size = int(rng.integers(SMALLEST, LARGEST + 1))
    return label, (square, circle)[label](size)


def random_shape_3d(rng: np.random.Generator) -> tuple[int, Mask]:
    """A cone, pyramid, cube, cylinder or ball of 5 to 24 voxels.

    Cones and pyramids point any of six ways; cylinders always lie along the last axis.

    Returns:
        Its index in `CLASSES_3D` and its mask, cut to the box it was drawn in.
    """
    label = int(rng.integers(5))
    base, height = (int(v) for v in rng.integers(SMALLEST, LARGEST + 1, size=2))
    turns = (int(rng.integers(4)), int(rng.integers(4)), int(rng.integers(4)))
    match CLASSES_3D[label]:
        case "cone":
            return label, quarter_turns(cone(base, height), turns)
        case "pyramid":
            return label, quarter_turns(pyramid(base, height), turns)
        case "cube":
            return label, cube(base)
        case "cylinder":
            return label, cylinder(base, height)
        case _:
            return label, ball(base)


def random_cube_or_ball(rng: np.random.Generator) -> tuple[int, Mask]:
    """A cube or a ball of 5 to 24 voxels.

    Returns:
        Its index in `CUBES_AND_BALLS` and its mask.
    """
    label = int(rng.integers(2))
    size = int(rng.integers(SMALLEST, LARGEST + 1))
    return label, cube(size) if label == 0 else ball(size)


def place(
    rng: np.random.Generator,
    rank: int,
    objects: int,
    shape: Callable[[np.random.Generator], tuple[int, Mask]],
    background: int,
) -> NDArray[np.int64]:
    """Puts random shapes in cells of their own, so that they never overlap.

    Args:
        rng: where the chances come from.
        rank: 2 or 3; the label map is 48 wide along each axis, a cell 24.
        objects: how many of the ``2 ** rank`` cells get a shape.
        shape: draws one shape: its label and its mask.
        background: the label of everything else.

    Returns:
        The label map, ``(48,) * rank``.
    """
    labels = np.full((SIDE,) * rank, background, dtype=np.int64)
    for cell in rng.choice(2**rank, size=objects, replace=False):
        label, mask = shape(rng)
        corner = np.array(np.unravel_index(cell, (2,) * rank)) * CELL
        start = corner + rng.integers(0, CELL - np.array(mask.shape) + 1)
        box = tuple(slice(a, a + n) for a, n in zip(start, mask.shape, strict=True))
        labels[box][mask] = label
    return labels


class _Shapes(Dataset[tuple[Tensor, Tensor]]):
    rank: ClassVar[int]
    objects: ClassVar[int]
    classes: ClassVar[tuple[str, ...]]
    shape: ClassVar["staticmethod[[np.random.Generator], tuple[int, Mask]]"]

    def __init__(self, n: int, seed: int = 0) -> None:
        if n < 1 or seed < 0:
            raise UsageError(f"shapes need n of at least 1 and a seed of at least 0: {n=}, {seed=}")
        self.n, self.seed = n, seed

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < self.n:
            raise IndexError(f"item {index} of {self.n}")
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(index,)))
        background = len(self.classes) - 1
        labels = place(rng, self.rank, self.objects, self.shape, background)
        noise = rng.standard_normal(labels.shape, dtype=np.float32)
        image = (labels != background).astype(np.float32) + np.float32(NOISE) * noise
        return torch.from_numpy(image)[None], torch.from_numpy(labels)


class Shapes2D(_Shapes):
    """Three squares and circles in three quadrants of a noisy 48 × 48 image.

    Item `i` depends on the seed and `i` alone, not on `n` or on what was read before. The image
    is the shapes' mask (0 or 1) plus normal noise of standard deviation 0.5.

    Args:
        n: number of items.
        seed: another seed is another set, e.g. for testing.

    Items are ``(image, labels)``: float32 ``(1, 48, 48)`` and int64 ``(48, 48)`` with the classes
    of `CLASSES_2D`, background last.
    """

    rank, objects, classes = 2, 3, CLASSES_2D
    shape = staticmethod(random_shape_2d)


class Shapes3D(_Shapes):
    """Four solids in four octants of a noisy 48 × 48 × 48 volume.

    Item `i` depends on the seed and `i` alone, not on `n` or on what was read before. The image
    is the solids' mask (0 or 1) plus normal noise of standard deviation 0.5.

    Args:
        n: number of items.
        seed: another seed is another set, e.g. for testing.

    Items are ``(image, labels)``: float32 ``(1, 48, 48, 48)`` and int64 ``(48, 48, 48)`` with the
    classes of `CLASSES_3D`, background last.
    """

    rank, objects, classes = 3, 4, CLASSES_3D
    shape = staticmethod(random_shape_3d)


class CubesAndBalls(_Shapes):
    """Four cubes and balls in four octants, classes in the order of the 2D squares and circles.

    As `Shapes3D`, but with the two solids whose middle slices are the shapes of `Shapes2D`, so
    that a network for those fits whole, its last layer included.

    Args:
        n: number of items.
        seed: another seed is another set, e.g. for testing.

    Items are ``(image, labels)``: float32 ``(1, 48, 48, 48)`` and int64 ``(48, 48, 48)`` with the
    classes of `CUBES_AND_BALLS`, background last.
    """

    rank, objects, classes = 3, 4, CUBES_AND_BALLS
    shape = staticmethod(random_cube_or_ball)
