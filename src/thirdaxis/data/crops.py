"""Boxes of scans, resampled: around a mask or a point, from the middle, or the whole."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from thirdaxis.data.grid import CANONICAL, onto, to_grid
from thirdaxis.data.samples import Point, Sample
from thirdaxis.data.volume import Volume, read_labels, read_volume
from thirdaxis.errors import InputError, UsageError

Triple = tuple[float, float, float]
Unit = Literal["ras", "lps", "voxel"]


@dataclass(frozen=True)
class Box:
    """Which part of a scan is taken, and on which grid; array order (d, h, w) throughout.

    A box has ``size`` voxels of ``spacing`` mm (of the scan's own where there is none); or reaches
    over ``size_mm`` with ``spacing``; or over ``size_mm`` in ``size`` voxels. The whole scan needs
    neither: it is resampled to ``size`` voxels, or to ``spacing``, or left as it is.

    Args:
        around: ``mask`` (its centre of mass), ``centre`` (the sample's point), ``middle`` or
            ``whole``.
        size: voxels.
        size_mm: millimetres.
        spacing: millimetres of a voxel.
        margin: voxels more on every side, to choose a box from later.
        unit: of a sample's point: ``ras`` or ``lps``, mm in the patient as NIfTI or as DICOM and
            ITK have it, or ``voxel``, counted from 0 along the file's axes.
        orientation: axis code of the arrays, see `thirdaxis.data.grid`.

    Raises:
        UsageError: where these do not make a box.
    """

    around: Literal["mask", "centre", "middle", "whole"] = "middle"
    size: tuple[int, int, int] | None = None
    size_mm: Triple | None = None
    spacing: Triple | None = None
    margin: int = 0
    unit: Unit = "ras"
    orientation: str = CANONICAL

    def __post_init__(self) -> None:
        told = [name for name in ("size", "size_mm", "spacing") if getattr(self, name) is not None]
        if len(told) == 3:
            raise UsageError("of size, size_mm and spacing two make a box, the third follows")
        if told == ["size_mm"]:
            raise UsageError("size_mm needs a spacing, or a size in voxels, to make a box")
        if self.around == "whole":
            if self.size_mm is not None or len(told) > 1:
                raise UsageError("the whole scan takes a size in voxels or a spacing, not both")
        elif self.size is None and self.size_mm is None:
            raise UsageError(f"a box around {self.around!r} needs a size")


def read_crop(sample: Sample, box: Box) -> Volume:
    """Reads a sample's scan, and its mask where the box needs it, and cuts the box.

    Args:
        sample: a row of a table.
        box: what to take.

    Returns:
        ``(C, d, h, w)`` float32, and the box's place.

    Raises:
        InputError: a file that cannot be read, an empty mask, a point outside the scan, or a crop
            of one value everywhere.
        UsageError: a box around a mask or a point that the sample does not have.
    """
    image = read_volume(sample.file)
    if sample.spacing is not None:
        image = _respaced(image, sample.spacing)
    centre = _centre(sample, image, box)
    inside = _index(image, centre)
    if any(not -0.5 <= at <= n - 0.5 for at, n in zip(inside, image.shape, strict=True)):
        told = ", ".join(f"{at:.1f}" for at in reversed(inside))
        raise InputError(
            f"{sample.file}: the centre of {sample.name!r} lies at voxel ({told}) of "
            f"{tuple(reversed(image.shape))}, outside; is its unit {box.unit!r}?"
        )
    crop = cut(image, centre, box)
    if crop.array.min() == crop.array.max():
        value = float(crop.array.min())
        raise InputError(f"{sample.file}: the crop of {sample.name!r} is {value:g} everywhere")
    return crop


def cut(image: Volume, centre: Tensor, box: Box) -> Volume:
    """Takes a box out of a scan; places outside the scan take its nearest border value.

    Args:
        image: ``(C, D, H, W)``, whole numbers or floats.
        centre: of the box, ``(3,)`` mm, RAS+; of no meaning for the whole scan.
        box: what to take; margins are added for all but the whole scan resampled to a size, whose
            margins are voxels of the same size beyond its border.

    Returns:
        ``(C, d, h, w)`` float32 and its place.
    """
    turned = to_grid(Volume(image.array.float(), image.affine), box.orientation)
    size, spacing = _grid(turned, box)
    if box.around == "whole":
        ends = (torch.tensor(turned.shape, dtype=torch.float64) - 1) / 2
        centre = turned.affine[:3, :3] @ ends + turned.affine[:3, 3]
    affine = turned.affine.clone()
    steps = torch.tensor(spacing, dtype=torch.float64)
    affine[:3, :3] *= steps / torch.tensor(turned.spacing, dtype=torch.float64)
    wide = [n + 2 * box.margin for n in size]
    affine[:3, 3] = centre - affine[:3, :3] @ ((torch.tensor(wide, dtype=torch.float64) - 1) / 2)
    like = Volume(torch.empty(1, 1, 1, 1).expand(1, *wide), affine)
    return onto(turned, like, mode="bilinear")


def mask_centre(mask: Volume) -> Tensor:
    """Centre of mass of a mask, ``(3,)`` mm, RAS+.

    Raises:
        InputError: an empty mask.
    """
    inside = torch.nonzero(mask.array[0] > 0).double()
    if not len(inside):
        raise InputError("the mask is empty")
    return mask.affine[:3, :3] @ inside.mean(0) + mask.affine[:3, 3]


def _grid(turned: Volume, box: Box) -> tuple[Sequence[int], Triple]:
    """Voxels of the box and their spacing."""
    if box.around == "whole":
        if box.size is None and box.spacing is None:
            return turned.shape, turned.spacing
        extent = [n * step for n, step in zip(turned.shape, turned.spacing, strict=True)]
        return _fill(box, extent, turned.spacing)
    if box.size_mm is not None:
        return _fill(box, box.size_mm, turned.spacing)
    assert box.size is not None  # a box has a size, see Box
    return box.size, box.spacing or turned.spacing


def _fill(box: Box, extent: Sequence[float], own: Triple) -> tuple[Sequence[int], Triple]:
    if box.size is not None:
        d, h, w = (length / n for length, n in zip(extent, box.size, strict=True))
        return box.size, (d, h, w)
    spacing = box.spacing or own
    return [max(1, round(n / step)) for n, step in zip(extent, spacing, strict=True)], spacing


def _centre(sample: Sample, image: Volume, box: Box) -> Tensor:
    if box.around == "mask":
        if sample.mask is None:
            raise UsageError(f"{sample.name}: a box around the mask needs a column of masks")
        mask = read_labels(sample.mask)
        if sample.spacing is not None:
            mask = _respaced(mask, sample.spacing)
        try:
            return mask_centre(mask)
        except InputError as fault:
            raise InputError(f"{sample.mask}: {fault}") from None
    if box.around == "centre":
        if sample.centre is None:
            raise UsageError(f"{sample.name}: a box around a point needs its three columns")
        return _world(image, sample.centre, box.unit)
    ends = (torch.tensor(image.shape, dtype=torch.float64) - 1) / 2
    return image.affine[:3, :3] @ ends + image.affine[:3, 3]


def _world(image: Volume, point: Point, unit: Unit) -> Tensor:
    place = torch.tensor(point, dtype=torch.float64)
    if unit == "voxel":  # along the file's axes, which the array has reversed
        return image.affine[:3, :3] @ place.flip(0) + image.affine[:3, 3]
    return place * torch.tensor([-1.0, -1.0, 1.0]) if unit == "lps" else place


def _index(image: Volume, centre: Tensor) -> list[float]:
    return torch.linalg.solve(image.affine[:3, :3], centre - image.affine[:3, 3]).tolist()


def _respaced(volume: Volume, spacing: Point) -> Volume:
    """The same voxels at another distance, the first one where it was."""
    affine = volume.affine.clone()
    wanted = torch.tensor(spacing[::-1], dtype=torch.float64)
    if not all(math.isfinite(step) and step > 0 for step in spacing):
        raise InputError(f"a spacing is three positive lengths in mm, not {spacing}")
    affine[:3, :3] *= wanted / torch.tensor(volume.spacing, dtype=torch.float64)
    return replace(volume, affine=affine)
