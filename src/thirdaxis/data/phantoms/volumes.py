"""Phantom series as volumes: NIfTI files, and a table of boxes around their nodules."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from thirdaxis.data.images import nifti_image
from thirdaxis.data.lesions.box_rows import SPLITS
from thirdaxis.data.lesions.recist import extent
from thirdaxis.data.phantoms.scene import Scene, Thing

HEADS = ("file", "patient", "split", "x1", "y1", "z1", "x2", "y2", "z2", "covered")


def write_series(path: Path, made: Scene) -> None:
    """Writes a series upwards, x to the patient's left and y to the back, in HU."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = made.thickness, -made.pixel, -made.pixel
    affine[3, 3] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nifti_image(made.slices, affine).to_filename(path)


def box_rows(file: str, patient: str, part: int, made: Scene, margin: float) -> list[Sequence[str]]:
    """A row a nodule: its file, patient and part, and its box in voxels of the file.

    Args:
        file: as the table calls the volume.
        patient: whose it is.
        part: 1, 2 or 3.
        made: the series.
        margin: mm around both diameters and the height of a nodule.
    """
    nodules = [thing for thing in made.things if thing.kind == "nodule"]
    start = [file, patient, SPLITS[part - 1]]
    return [
        [*start, *(f"{end:.6g}" for end in _box(made, thing, margin)), str(int(thing.covered))]
        for thing in nodules
    ]


def _box(made: Scene, thing: Thing, margin: float) -> list[float]:
    """x1, y1, z1, x2, y2, z2, cut at the volume's first and last slice."""
    x1, y1, x2, y2 = extent(thing.recist, margin / made.pixel)
    key = len(made.slices) // 2
    low, high = (key + end / made.thickness for end in thing.span)
    around = margin / made.thickness
    z1, z2 = max(low - around, -0.5), min(high + around, len(made.slices) - 0.5)
    return [x1, y1, z1, x2, y2, z2]
