"""Real lung nodules for phantoms: crops with masks, brought onto the phantoms' fine slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from thirdaxis.data.phantoms.shapes import FINE, LUNG, Grid
from thirdaxis.data.samples import Columns, Sample, read_samples
from thirdaxis.data.volume import read_labels, read_volume
from thirdaxis.errors import InputError

SMALLEST, LARGEST = 4.0, 10.0
"""mm; below, a slice hardly shows it, above, its neighbours show much the same."""
COARSEST = 2.0
"""mm between slices, at most."""
CHANCES = 20


@dataclass(frozen=True)
class RealNodules:
    """Draws real nodules of some patients.

    Args:
        samples: scan and mask of each.
    """

    samples: tuple[Sample, ...]

    def __call__(self, random: np.random.Generator, grid: Grid) -> np.ndarray:
        """A nodule, turned and mirrored at random; see `Draw`.

        Raises:
            InputError: none of those drawn is of 4 to 10 mm in slices of 2 mm at most.
        """
        for _ in range(CHANCES):
            sample = self.samples[int(random.integers(len(self.samples)))]
            found = _on_grid(sample, grid)
            if found is not None:
                turned = np.rot90(found, int(random.integers(4)), (1, 2))
                return turned[:, :, ::-1] if random.random() < 0.5 else turned
        raise InputError(
            f"{sample.file}: neither this nor {CHANCES - 1} other nodules drawn are "
            f"{SMALLEST:g} to {LARGEST:g} mm large, in slices of {COARSEST:g} mm at most"
        )


def read_nodules(folder: Path) -> list[Sample]:
    """Reads which nodules a folder has.

    Args:
        folder: has `labels.csv` with the columns file and patient_id, and the crops of this name
            in `images` and `masks`, as `thirdaxis prepare lidc` writes them.

    Raises:
        InputError: no such table, or a file that is missing.
    """
    columns = Columns(file="file", labels=(), patient="patient_id", mask="file")
    return read_samples(
        folder / "labels.csv", columns, images="images", masks="masks", labelled=False
    )


def by_patient(
    samples: Sequence[Sample], shares: Sequence[float], random: np.random.Generator
) -> list[RealNodules]:
    """Deals nodules out to the parts of a set, all of a patient to one part.

    Args:
        samples: of at least as many patients as parts.
        shares: of the patients that each part gets.
        random: deals.

    Raises:
        InputError: fewer patients than parts.
    """
    patients = sorted({sample.patient for sample in samples})
    if len(patients) < len(shares):
        raise InputError(
            f"nodules of {len(patients)} patients cannot be dealt out to {len(shares)} parts"
        )
    order = random.permutation(len(patients))
    spare = len(patients) - len(shares)
    ends = np.rint(np.cumsum(shares) / sum(shares) * spare) + np.arange(1, len(shares) + 1)
    part = np.searchsorted(ends, np.argsort(order), side="right")
    of = dict(zip(patients, part.tolist(), strict=True))
    return [
        RealNodules(tuple(sample for sample in samples if of[sample.patient] == number))
        for number in range(len(shares))
    ]


@lru_cache(maxsize=128)
def _on_grid(sample: Sample, grid: Grid) -> np.ndarray | None:
    """(Z, n, n) HU above the lung within the mask; none for a nodule that does not suit."""
    if sample.mask is None:
        raise InputError(f"{sample.file}: has no mask")
    scan, mask = read_volume(sample.file), read_labels(sample.mask)
    if scan.shape != mask.shape:
        raise InputError(f"{sample.mask}: {mask.shape} voxels, the scan has {scan.shape}")
    inside = mask.array[0].numpy() > 0
    spacing = np.array(scan.spacing)
    areas = inside.sum(axis=(1, 2))
    if spacing[0] > COARSEST or not areas.any():
        return None
    largest = int(areas.argmax())
    places = np.argwhere(inside[largest])
    extent = (np.ptp(places, axis=0) + 1) * spacing[1:]
    if not SMALLEST <= extent.max() <= LARGEST:
        return None
    centre = np.array([largest, *places.mean(axis=0)])
    half = int(np.ceil((extent.max() / 2 + 2) / grid.pixel))
    shape = (len(grid.heights), 2 * half + 1, 2 * half + 1)
    step = np.array([FINE, grid.pixel, grid.pixel]) / spacing
    start = centre - (np.array(shape) - 1) / 2 * step
    # Half a millimetre of the edge that the readers left out, so that it is as soft as it was.
    soft = ndimage.gaussian_filter(inside.astype(np.float32), 0.5 / spacing)
    weight = np.clip(2 * _sampled(soft, step, start, shape), 0, 1)
    above = _sampled(scan.array[0].numpy(), step, start, shape) - LUNG
    found = weight * np.clip(above, 0, None)
    return found if found[grid.key].mean(axis=0).max() > 100 else None


def _sampled(
    array: np.ndarray, step: np.ndarray, start: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    return np.asarray(
        ndimage.affine_transform(
            array.astype(np.float32), step, offset=start, output_shape=shape, order=1
        )
    )
