"""Lesions of any CT: boxes in a table, or a label map."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch

from thirdaxis.data.lesions.axial import AxialGrid, VolumeSlices
from thirdaxis.data.lesions.box_rows import (
    Row,
    blank,
    box_ends,
    cell,
    number,
    read_rows,
    split_of,
)
from thirdaxis.data.lesions.key_slice import KeySlice, LesionSet
from thirdaxis.data.lesions.labels import read_lesion_labels
from thirdaxis.data.volume import file_ending
from thirdaxis.errors import InputError

VALUES = re.compile(r"(?P<labels>.+):(?P<values>\d+(,\d+)*)")


@dataclass
class Scan:
    """A scan of a table and the lesions that its rows name, by slice."""

    path: Path
    grid: AxialGrid
    patient: str
    split: str | None
    slices: dict[int, list[tuple[list[float], int]]] = field(default_factory=dict)


def read_lesion_boxes(
    folder: str | Path,
    boxes: str | Path,
    *,
    legacy: bool = False,
    faults: list[str] | None = None,
    kept: int = 2,
) -> LesionSet:
    """Reads boxes on CT scans of any format that `read_volume` knows.

    `boxes` is a folder of label maps, see `read_lesion_labels`, of which ``labels:2`` or
    ``labels:2,3`` takes these values alone for lesions; or a table: CSV with a header, or JSON as a
    list of objects (or ``{"boxes": [...]}``) with the same names:

    - ``file``: the scan, relative to `folder`; a DICOM series is its folder.
    - ``x1, y1, x2, y2`` and ``z`` for a box on one slice, or ``z1, z2`` for a box through
      slices, which then is a box on each of them. These are the file's own voxels, counted from 0
      at the centre of the first one: i, j, k of NIfTI as nibabel shows it; column, row and slice of
      other formats, slices of DICOM in the order of their places. Or ``x1_mm`` and so on, in RAS+
      mm as the file's affine says: x to the left of the patient is negative; or ``x1_lps_mm`` and
      so on, in the mm of DICOM and ITK.
    - ``patient``: whose scan it is; without it each scan is its own patient's.
    - ``split``: train, val or test; ``kind``: 1 to 8 as in `KeySlice`, -1 unknown.

    Key slices are axial whatever way the file runs: from feet to head, seen as radiologists do,
    and boxes are turned with them. A box that reaches over the border is cut there.

    Args:
        folder: the scans' place.
        boxes: the table, or a folder of label maps with or without values.
        legacy: interpolate between slices as the first codes did, see `slice_weights`.
        faults: gets a line for each row that cannot be used, which is then left out; without it
            the first one is raised.
        kept: scans that the reader keeps in memory.

    Returns:
        Key slices named ``FILE/SLICE``, by scan in the order of the table, then by slice.

    Raises:
        InputError: no such file, another format, no lesion; and without `faults` a row without a
            scan, with a missing column, twice, or with a box that is inverted, of zero size or
            outside its scan.
    """
    folder, table = Path(folder), Path(boxes)
    chosen = VALUES.fullmatch(str(boxes))
    if table.is_dir() or chosen:
        labels = table if chosen is None else Path(chosen["labels"])
        values = None if chosen is None else [int(value) for value in chosen["values"].split(",")]
        return read_lesion_labels(folder, labels, values=values, legacy=legacy, kept=kept)
    scans: dict[str, Scan] = {}
    seen: dict[tuple[object, ...], str] = {}
    for where, row in read_rows(table):
        try:
            _add(scans, seen, folder, where, row)
        except InputError as fault:
            if faults is None:
                raise
            faults.append(str(fault))
    slices = tuple(one for name, scan in scans.items() for one in _key_slices(name, scan))
    if not slices:
        raise InputError(f"{table}: no lesion to use")
    files = {name: scan.path for name, scan in scans.items()}
    return LesionSet(slices, VolumeSlices(files, legacy, kept), str(table))


def _add(
    scans: dict[str, Scan],
    seen: dict[tuple[object, ...], str],
    folder: Path,
    where: str,
    row: Row,
) -> None:
    file = str(cell(where, row, "file"))
    ends = box_ends(where, row)
    kind = int(number(where, row, "kind")) if not blank(row, "kind") else -1
    if kind != -1 and kind not in range(1, 9):
        raise InputError(f"{where}: kind is -1 or 1 to 8, not {kind}")
    split = split_of(where, row)
    key = (file, ends)
    if key in seen:
        raise InputError(f"{where}: the same lesion as in {seen[key]}; keep one of them")
    name = file.removesuffix(file_ending(file)).rstrip("/")
    scan = scans.get(name)
    patient = str(row.get("patient") or name)
    if scan is None:
        if not (folder / file).exists():
            raise InputError(f"{where}: no scan {folder / file}; mend the name or take out the row")
        scan = Scan(folder / file, AxialGrid.of(folder / file), patient, split)
    if (patient, split, folder / file) != (scan.patient, scan.split, scan.path):
        raise InputError(f"{where}: another patient, split or file than in earlier rows of {name}")
    if ends.flat and not ends.mm and abs(scan.grid.from_voxel[0, 2]) < 0.5:
        raise InputError(
            f"{where}: z counts along the file's third axis, which does not run along the body "
            f"in {file}; tell z1 and z2 of the box, or mm"
        )
    low, high = scan.grid.extent(ends.low, ends.high, ends.mm)
    depth, height, width = scan.grid.shape
    first, last = math.ceil(low[0]), math.floor(high[0])
    if ends.flat or first > last:
        first = last = round((low[0] + high[0]) / 2)
    numbers = range(max(first, 0), min(last, depth - 1) + 1)
    if not numbers or high[1] <= 0 or high[2] <= 0 or low[1] >= height - 1 or low[2] >= width - 1:
        raise InputError(
            f"{where}: the box {ends} (x, y, z) lies outside {file}, which has {width} x "
            f"{height} pixels and {depth} axial slices"
        )
    seen[key] = where
    scans[name] = scan
    box = [max(low[2], 0), max(low[1], 0), min(high[2], width - 1), min(high[1], height - 1)]
    for place in numbers:
        scan.slices.setdefault(place, []).append((box, kind))


def _key_slices(name: str, scan: Scan) -> list[KeySlice]:
    return [
        KeySlice(
            name=f"{name}/{number:03d}",
            patient=scan.patient,
            boxes=torch.tensor([box for box, _ in lesions], dtype=torch.float32),
            size=scan.grid.shape[1:],
            spacing=scan.grid.spacing,
            kinds=torch.tensor([kind for _, kind in lesions]),
            split=scan.split,
        )
        for number, lesions in sorted(scan.slices.items())
    ]
