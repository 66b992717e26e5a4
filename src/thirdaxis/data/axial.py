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
from thirdaxis.data.lesions import KeySlice
from thirdaxis.data.slice_stack import slice_weights, stack_slices
from thirdaxis.data.volume import read_grid, read_volume
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
        shape, affine = read_grid(path)
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

    A scan is read as a whole and the last few are kept, so that slices in the order of their scans
    are quick and shuffled ones are not.

    Args:
        scans: what comes before the last ``/`` in the names of key slices -> the scan.
        legacy: see `slice_weights`.
        kept: scans kept in memory.
    """

    scans: dict[str, Path]
    legacy: bool = False
    kept: int = 2
    _memory: OrderedDict[str, np.ndarray] = field(default_factory=OrderedDict, repr=False)

    def __call__(self, key_slice: KeySlice, depth: int, interval: float | None) -> np.ndarray:
        """Stacks ``(depth, H, W)`` float32 in HU around a key slice.

        Raises:
            InputError: a scan that cannot be read or is not the one told.
            UsageError: an even depth, or an interval that is no length.
        """
        offsets, weights = slice_weights(depth, key_slice.spacing[0], interval, self.legacy)
        name, _, number = key_slice.name.rpartition("/")
        volume = self._load(name)
        if volume.shape[1:] != key_slice.size or int(number) >= len(volume):
            raise InputError(
                f"{self.scans[name]}: is {volume.shape} now, it was another scan when the set was "
                "read; read the set again"
            )
        present = range(len(volume)).__contains__
        return stack_slices(volume.__getitem__, present, int(number), offsets, weights)

    def _load(self, name: str) -> np.ndarray:
        if name in self._memory:
            self._memory.move_to_end(name)
            return self._memory[name]
        turned = to_grid(read_volume(self.scans[name])).array
        if turned.shape[0] != 1:
            raise InputError(f"{self.scans[name]}: has {turned.shape[0]} channels, a CT has one")
        found = turned[0].numpy()
        small = found.astype(np.int16)  # HU take half the room as whole numbers
        found = small if np.array_equal(small, found) else found
        self._memory[name] = found
        if len(self._memory) > self.kept:
            self._memory.popitem(last=False)
        return found

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_memory": OrderedDict()}  # a worker starts with nothing
