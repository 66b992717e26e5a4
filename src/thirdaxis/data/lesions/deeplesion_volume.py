"""The series of DeepLesion as volumes: the slices that are stored, one after another."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from thirdaxis.data.lesions.ct_png import read_ct_png
from thirdaxis.data.lesions.deeplesion import TABLE, SeriesSlices, read_deeplesion
from thirdaxis.data.volume import Volume
from thirdaxis.errors import InputError


@dataclass(frozen=True)
class StoredSeries:
    """Slices of a series that are stored.

    Args:
        name: ``PATIENT_STUDY_SERIES``.
        folder: of the slices.
        spacing: mm from slice to slice, from row to row, from column to column.
    """

    name: str
    folder: Path
    spacing: tuple[float, float, float]

    def files(self) -> list[Path]:
        """The slices by number."""
        return sorted(self.folder.glob("*.png"), key=lambda path: int(path.stem))

    def read(self) -> Volume:
        """The slices in HU, in the order of their numbers.

        Where they lie in the patient is not known: they are taken to run upwards, rows from front
        to back and columns from right to left, and millimetres count from the first voxel.

        Raises:
            InputError: a damaged slice, one of another size, a number left out between two, or
                slices whose distance is not known.
        """
        depth, height, width = self.spacing
        if not depth > 0:
            raise InputError(f"{self.folder}: the table does not tell the distance of its slices")
        paths = self.files()
        numbers = [int(path.stem) for path in paths]
        for before, after in pairwise(numbers):
            if after != before + 1:
                raise InputError(
                    f"{self.folder}: there is no slice between {before} and {after}; a scan needs "
                    "all of them"
                )
        slices = [read_ct_png(path) for path in paths]
        for path, one in zip(paths, slices, strict=True):
            if one.shape != slices[0].shape:
                raise InputError(f"{path}: is {one.shape}, the first slice is {slices[0].shape}")
        affine = torch.zeros(4, 4, dtype=torch.float64)
        affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = depth, -height, -width, 1
        return Volume(torch.from_numpy(np.stack(slices)).float()[None], affine)


def stored_series(path: Path) -> list[StoredSeries]:
    """The series that a folder of DeepLesion holds, or the one whose folder it is.

    Args:
        path: holds `DL_info.csv` and `Images_png`, or is a folder in `Images_png`.

    Returns:
        By name; none where it is no such folder.

    Raises:
        InputError: as `read_deeplesion`.
    """
    roots = [root for root in (path, *path.absolute().parents[1:3]) if (root / TABLE).is_file()]
    if not path.is_dir() or not roots:
        return []
    lesions = read_deeplesion(roots[0], faults=[])
    assert isinstance(lesions.read, SeriesSlices)
    found = {}
    for one in lesions.slices:
        name = one.name.split("/")[0]
        folder = lesions.read.series[name]
        if path == roots[0] or folder.resolve() == path.resolve():
            found[name] = StoredSeries(name, folder, one.spacing)
    return [found[name] for name in sorted(found)]
