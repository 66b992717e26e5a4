"""Scans as series of axial slices, whatever way their files run."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thirdaxis.data.grid import to_grid, turned_grid
from thirdaxis.data.images import nifti_grid, nifti_voxels, one_line
from thirdaxis.data.lesions.key_slice import KeySlice
from thirdaxis.data.lesions.stack import slice_weights, stack_slices
from thirdaxis.data.volume import file_ending, read_grid, read_volume
from thirdaxis.errors import InputError

Corner = Sequence[float]


@dataclass(frozen=True, eq=False)
class AxialGrid:
    """A scan turned to axial slices: from feet to head, rows front to back, columns right to left.

    Args:
        shape: (D, H, W) of the turned scan.
        spacing: mm along them.
        from_voxel: (4, 4), the file's own voxel (i, j, k, 1) to (d, h, w, 1).
        from_mm: (4, 4), RAS+ mm (x, y, z, 1) to (d, h, w, 1).
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    from_voxel: Tensor
    from_mm: Tensor

    @classmethod
    def of(cls, path: Path) -> "AxialGrid":
        """The grid of a file, see `read_grid`."""
        return cls.at(*read_grid(path))

    @classmethod
    def at(cls, shape: Sequence[int], affine: Tensor) -> "AxialGrid":
        """The grid of a volume of this (D, H, W) and (4, 4) affine, (d, h, w, 1) to RAS+ mm."""
        axial, turned = turned_grid(shape, affine)
        d, h, w = turned[:3, :3].norm(dim=0).tolist()
        from_mm = torch.linalg.inv(turned)
        # Volumes are the file's axes reversed.
        return cls(axial, (d, h, w), (from_mm @ affine)[:, [2, 1, 0, 3]], from_mm)

    def extent(self, low: Corner, high: Corner, mm: bool) -> tuple[np.ndarray, np.ndarray]:
        """The upright box around a box that is told in the file's voxels or in mm.

        Args:
            low: x1, y1, z1 of the box.
            high: x2, y2, z2.
            mm: whether they are RAS+ mm, else the file's own voxels, counted from 0.

        Returns:
            Lowest and highest (d, h, w), in slices and pixels from 0. They are exact unless the
            scan is oblique and the box in mm: then they hold all its corners.
        """
        corners = [(*corner, 1.0) for corner in product(*zip(low, high, strict=True))]
        step = self.from_mm if mm else self.from_voxel
        found = (torch.tensor(corners, dtype=torch.float64) @ step.T)[:, :3].numpy().round(6)
        return found.min(axis=0), found.max(axis=0)


@dataclass
class VolumeSlices:
    """Reads stacks of axial slices out of scans: a `SliceReader`.

    Out of an uncompressed NIfTI file single slices are read. Other scans are read as a whole and
    the last few are kept, so that slices in the order of their scans are quick and shuffled ones
    are not: unpack .nii.gz to train on them.

    Args:
        scans: what comes before the last ``/`` in the names of key slices -> the scan.
        legacy: see `slice_weights`.
        kept: scans kept in memory.
    """

    scans: dict[str, Path]
    legacy: bool = False
    kept: int = 2
    _memory: OrderedDict[str, "np.ndarray | NiftiSlices"] = field(
        default_factory=OrderedDict, repr=False
    )

    def __call__(self, key_slice: KeySlice, depth: int, interval: float | None) -> np.ndarray:
        """Stacks ``(depth, H, W)`` float32 in HU around a key slice.

        Raises:
            InputError: a scan that cannot be read or is not the one told.
            UsageError: an even depth, or an interval that is no length.
        """
        offsets, weights = slice_weights(depth, key_slice.spacing[0], interval, self.legacy)
        name, _, number = key_slice.name.rpartition("/")
        volume = self._load(name)
        if volume.shape[1:] != key_slice.size or int(number) >= volume.shape[0]:
            raise InputError(
                f"{self.scans[name]}: is {tuple(volume.shape)} now, it was another scan when the "
                "set was read; read the set again"
            )
        present = range(volume.shape[0]).__contains__
        return stack_slices(volume.__getitem__, present, int(number), offsets, weights)

    def _load(self, name: str) -> "np.ndarray | NiftiSlices":
        if name in self._memory:
            self._memory.move_to_end(name)
            return self._memory[name]
        path = self.scans[name]
        self._memory[name] = NiftiSlices(path) if NiftiSlices.suits(path) else _whole(path)
        if len(self._memory) > self.kept:
            self._memory.popitem(last=False)
        return self._memory[name]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_memory": OrderedDict()}  # a worker starts with nothing


class NiftiSlices:
    """Axial slices of an uncompressed NIfTI file, read one by one.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        shape, affine = read_grid(path)
        self.path, self.stored = path, nifti_voxels(path)
        self.shape, turned = turned_grid(shape, affine)
        step = torch.linalg.solve(affine, turned)[:3, :3].round()
        self.axes = step.abs().argmax(dim=0).tolist()  # of the file, for d, h and w
        self.back = [bool(step[axis, new] < 0) for new, axis in enumerate(self.axes)]

    @staticmethod
    def suits(path: Path) -> bool:
        """Whether single slices can be read out of a file."""
        return file_ending(path) == ".nii" and nifti_grid(path) is not None

    def __getitem__(self, number: int) -> np.ndarray:
        """A slice ``(H, W)``.

        Raises:
            InputError: a damaged file, or values that are not finite.
        """
        place: list[slice | int] = [slice(None)] * 3
        place[self.axes[0]] = self.shape[0] - 1 - number if self.back[0] else number
        try:
            picture = np.asarray(self.stored[tuple(place[::-1])]).T
        except (OSError, ValueError, EOFError) as fault:
            raise InputError(f"{self.path}: damaged NIfTI ({one_line(fault)})") from None
        if not np.isfinite(picture).all():
            raise InputError(f"{self.path}: slice {number} has values that are NaN or infinite")
        picture = picture if self.axes[1] < self.axes[2] else picture.T
        return picture[:: -1 if self.back[1] else 1, :: -1 if self.back[2] else 1]


def _whole(path: Path) -> np.ndarray:
    turned = to_grid(read_volume(path)).array
    if turned.shape[0] != 1:
        raise InputError(f"{path}: has {turned.shape[0]} channels, a CT has one")
    found = turned[0].numpy()
    small = found.astype(np.int16)  # HU take half the room as whole numbers
    return small if np.array_equal(small, found) else found
