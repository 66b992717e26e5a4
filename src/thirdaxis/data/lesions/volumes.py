"""Lesions as boxes in whole volumes: in a table, or as the connected parts of label maps."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from thirdaxis.data.grid import to_grid
from thirdaxis.data.lesions.axial import AxialGrid
from thirdaxis.data.lesions.box_rows import (
    BoxEnds,
    Row,
    box_ends,
    cell,
    has_no_box,
    read_rows,
    split_of,
)
from thirdaxis.data.pairs import volumes_in
from thirdaxis.data.volume import Volume, file_ending, read_labels
from thirdaxis.errors import InputError

TOUCHING = np.ones((3, 3, 3))
VALUES = re.compile(r"(?P<labels>.+):(?P<values>\d+(,\d+)*)")


@dataclass(frozen=True, eq=False)
class BoxedVolume:
    """A volume and the lesions in it.

    Args:
        name: unique in its set, the file's without its ending.
        file: the volume, a file or a folder of DICOM.
        patient: whose it is.
        grid: of the volume turned to axial slices.
        boxes: (L, 6) lowest, then highest (d, h, w) in voxels of the turned volume, whose first
            voxel has its centre at 0; a box around that voxel goes from -0.5 to 0.5. L may be 0.
        split: ``train``, ``val`` or ``test`` where the set has official parts.
    """

    name: str
    file: Path
    patient: str
    grid: AxialGrid
    boxes: np.ndarray
    split: str | None = None


def read_boxed_volumes(
    folder: str | Path, boxes: str | Path, *, faults: list[str] | None = None
) -> tuple[BoxedVolume, ...]:
    """Reads which volumes of a folder have which lesions; voxels are read when they are needed.

    `boxes` is a folder of label maps, of which ``labels:2`` or ``labels:2,3`` takes these values
    alone for lesions, each connected part (over faces, edges or corners) one; or a table: CSV with
    a header, or JSON as a list of objects (or ``{"boxes": [...]}``) with the same names:

    - ``file``: the volume, relative to `folder`; a DICOM series is its folder.
    - ``x1, y1, z1, x2, y2, z2``: the ends of a box in the file's own voxels, whose first one has
      its centre at 0: i, j, k of NIfTI as nibabel shows it; column, row and slice of other formats.
      Or ``x1_mm`` and so on in RAS+ mm, or ``x1_lps_mm`` in those of DICOM and ITK. ``z`` in place
      of ``z1`` and ``z2``, or both alike, is a box on one slice, as thick as that.
    - ``patient``: whose scan it is; without it each is its own patient's.
    - ``split``: train, val or test.

    A row with a file alone is a volume that was searched and has no lesion; volumes that no row
    names are not used. A box that reaches over the border is cut there.

    Args:
        folder: the volumes' place.
        boxes: the table, or a folder of label maps with or without values.
        faults: gets a line for each row that cannot be used, which is then left out; without it
            the first one is raised.

    Returns:
        The volumes in the order of the table, or of their names.

    Raises:
        InputError: no such file, another format, or no volume; and without `faults` a row without
            a scan, with a missing column, twice, or with a box that is inverted, of zero size or
            outside its volume; a label map without a scan or on another grid.
    """
    folder, table = Path(folder), Path(boxes)
    chosen = VALUES.fullmatch(str(boxes))
    if table.is_dir() or chosen:
        labels = table if chosen is None else Path(chosen["labels"])
        values = None if chosen is None else [int(value) for value in chosen["values"].split(",")]
        return _of_labels(folder, labels, values)
    volumes: dict[str, BoxedVolume] = {}
    seen: dict[tuple[str, BoxEnds], str] = {}
    for where, row in read_rows(table):
        try:
            _add(volumes, seen, folder, where, row)
        except InputError as fault:
            if faults is None:
                raise
            faults.append(str(fault))
    if not volumes:
        raise InputError(f"{table}: names no volume to use")
    return tuple(volumes.values())


def connected_boxes(inside: np.ndarray) -> np.ndarray:
    """The boxes of what hangs together in a mask, over faces, edges or corners.

    Args:
        inside: (D, H, W) bool.

    Returns:
        (L, 6) lowest, then highest (d, h, w), from face to face: a part of one voxel at 7 goes from
        6.5 to 7.5.
    """
    parts, _ = ndimage.label(inside, TOUCHING)
    found = [
        [*(axis.start - 0.5 for axis in place), *(axis.stop - 0.5 for axis in place)]
        for place in ndimage.find_objects(parts)
    ]
    return np.array(found, float).reshape(-1, 6)


def _add(
    volumes: dict[str, BoxedVolume],
    seen: dict[tuple[str, BoxEnds], str],
    folder: Path,
    where: str,
    row: Row,
) -> None:
    file = str(cell(where, row, "file"))
    name = file.removesuffix(file_ending(file)).rstrip("/")
    split = split_of(where, row)
    ends = None if has_no_box(row) else box_ends(where, row)
    if ends is not None and (file, ends) in seen:
        told = seen[file, ends]
        raise InputError(f"{where}: the same lesion as in {told}; keep one of them")
    known = volumes.get(name)
    patient = str(row.get("patient") or name)
    if known is None:
        if not (folder / file).exists():
            raise InputError(f"{where}: no scan {folder / file}; mend the name or take out the row")
        grid = AxialGrid.of(folder / file)
        known = BoxedVolume(name, folder / file, patient, grid, np.zeros((0, 6)), split)
    if (patient, split, folder / file) != (known.patient, known.split, known.file):
        raise InputError(f"{where}: another patient, split or file than in earlier rows of {name}")
    boxes = known.boxes
    if ends is not None:
        boxes = np.concatenate([boxes, _turned(ends, known, where)])
        seen[file, ends] = where
    volumes[name] = BoxedVolume(name, known.file, patient, known.grid, boxes, split)


def _turned(ends: BoxEnds, volume: BoxedVolume, where: str) -> np.ndarray:
    """A box (1, 6) in the turned volume, cut at its border."""
    grid = volume.grid
    low, high = _thick(ends, grid)
    found, last = np.array([*grid.extent(low, high, ends.mm)]), np.array(grid.shape) - 0.5
    if (found[1] <= -0.5).any() or (found[0] >= last).any():
        depth, height, width = grid.shape
        raise InputError(
            f"{where}: the box {ends} (x, y, z) lies outside {volume.file.name}, which has {width} "
            f"x {height} x {depth} voxels once it is turned to axial slices"
        )
    return np.clip(found, -0.5, last).reshape(1, 6)


def _thick(ends: BoxEnds, grid: AxialGrid) -> tuple[Sequence[float], Sequence[float]]:
    """The ends of a box, one on a single slice made as thick as that."""
    if ends.low[2] < ends.high[2]:
        return ends.low, ends.high
    step = (grid.from_mm if ends.mm else grid.from_voxel)[:3, 2]  # voxels of the turned one a step
    half = 0.5 / float(step.abs().max())
    return (*ends.low[:2], ends.low[2] - half), (*ends.high[:2], ends.high[2] + half)


def _of_labels(images: Path, labels: Path, values: Sequence[int] | None) -> tuple[BoxedVolume, ...]:
    for folder in (images, labels):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
    scans = volumes_in(images / "images" if (images / "images").is_dir() else images)
    found = []
    for name, path in volumes_in(labels).items():
        if name not in scans:
            raise InputError(f"{path}: {images} has no scan of this name")
        grid, drawn = AxialGrid.of(scans[name]), read_labels(path)
        if not _on_grid(drawn, grid):
            raise InputError(
                f"{path}: lies on another grid than {scans[name]}; resample it to the scan"
            )
        turned = to_grid(drawn).array[0].numpy()
        inside = turned != 0 if values is None else np.isin(turned, values)
        found.append(BoxedVolume(name, scans[name], name, grid, connected_boxes(inside)))
    if not found:
        raise InputError(f"{labels}: no label maps")
    return tuple(found)


def _on_grid(drawn: Volume, grid: AxialGrid) -> bool:
    """Whether the corners of a label map lie on those of a scan, to a twentieth of a voxel."""
    turned = to_grid(drawn)
    if turned.shape != grid.shape:
        return False
    step = (grid.from_mm @ turned.affine).numpy()
    corners = np.array([[*place, 1.0] for place in np.ndindex(2, 2, 2)])
    corners[:, :3] *= np.array(turned.shape) - 1
    return bool(np.abs(corners @ step.T - corners).max() <= 0.05)
