"""Lesions of CT scans that were drawn voxel by voxel."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from thirdaxis.data.grid import to_grid
from thirdaxis.data.lesions.axial import AxialGrid, VolumeSlices
from thirdaxis.data.lesions.key_slice import KeySlice, LesionSet
from thirdaxis.data.lesions.rle import Rle, decoded, encoded
from thirdaxis.data.pairs import volumes_in
from thirdaxis.data.volume import Volume, read_grid, read_labels, same_grid
from thirdaxis.errors import InputError

TOUCHING = np.ones((3, 3))


@dataclass
class DrawnMasks:
    """Gives the outlines of a key slice's lesions, in the order of its boxes."""

    runs: dict[str, list[Rle]]

    def __call__(self, key_slice: KeySlice) -> np.ndarray:
        """Outlines ``(L, H, W)`` bool."""
        return np.stack([decoded(run) for run in self.runs[key_slice.name]]).astype(bool)


def read_lesion_labels(
    images: str | Path,
    labels: str | Path,
    *,
    values: Sequence[int] | None = None,
    smallest: int = 1,
    legacy: bool = False,
    kept: int = 2,
) -> LesionSet:
    """Key slices are the axial slices that a label map reaches, lesions its parts in them.

    A lesion is what hangs together in one slice, over edges or corners of pixels. Its box goes
    from edge to edge: a lesion of one pixel at column 7 has x1 = 6.5 and x2 = 7.5, cut at the
    image.

    Args:
        images: folder of the scans, or what holds them as ``images/``.
        labels: folder of label maps with the scans' names, on the scans' own grids.
        values: of the label maps that are lesions; none takes all but 0.
        smallest: pixels that a lesion has in a slice; smaller parts are passed over.
        legacy: see `slice_weights`.
        kept: scans that the reader keeps in memory.

    Returns:
        Key slices named ``FILE/SLICE``, each scan its own patient's, with their drawn outlines.

    Raises:
        InputError: no such folder, a label map without a scan or on another grid, or no lesion.
    """
    images, labels = Path(images), Path(labels)
    for folder in (images, labels):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
    scans = volumes_in(images / "images" if (images / "images").is_dir() else images)
    slices: list[KeySlice] = []
    runs: dict[str, list[Rle]] = {}
    maps = volumes_in(labels)
    for name, path in maps.items():
        if name not in scans:
            raise InputError(f"{path}: {images} has no scan of this name")
        drawn = read_labels(path)
        shape, affine = read_grid(scans[name])
        if not same_grid(drawn, Volume(torch.zeros(1).expand(1, *shape), affine)):
            raise InputError(
                f"{path}: lies on another grid than {scans[name]}; resample it to the scan"
            )
        turned = to_grid(drawn).array[0].numpy()
        inside = turned != 0 if values is None else np.isin(turned, values)
        grid = AxialGrid.of(scans[name])
        for number in np.flatnonzero(inside.any(axis=(1, 2))).tolist():
            boxes, masks = lesions_of(inside[number], smallest)
            if len(boxes):
                key = f"{name}/{number:03d}"
                runs[key] = [encoded(mask) for mask in masks]
                slices.append(KeySlice(key, name, boxes, grid.shape[1:], grid.spacing))
    if not slices:
        raise InputError(f"{labels}: no lesion in {len(maps)} label maps")
    read = VolumeSlices({name: scans[name] for name in maps}, legacy, kept)
    return LesionSet(tuple(slices), read, str(labels), DrawnMasks(runs))


def lesions_of(mask: np.ndarray, smallest: int = 1) -> tuple[torch.Tensor, list[np.ndarray]]:
    """The parts of a mask that hang together, with their boxes.

    Args:
        mask: ``(H, W)`` bool.
        smallest: pixels that a part has at least.

    Returns:
        ``(L, 4)`` float32 x1, y1, x2, y2, from edge to edge of the pixels, and L masks.
    """
    height, width = mask.shape
    parts, _ = ndimage.label(mask, TOUCHING)
    boxes, masks = [], []
    for number, place in enumerate(ndimage.find_objects(parts), 1):
        found = parts == number
        if found.sum() < smallest:
            continue
        rows, columns = place
        boxes.append(
            (
                max(columns.start - 0.5, 0),
                max(rows.start - 0.5, 0),
                min(columns.stop - 0.5, width - 1),
                min(rows.stop - 0.5, height - 1),
            )
        )
        masks.append(found)
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), masks
