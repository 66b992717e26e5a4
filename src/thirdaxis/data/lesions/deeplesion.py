"""DeepLesion as it is published: key slices of CT series with measured lesions."""

import os
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thirdaxis.data.lesions.ct_png import read_ct_png
from thirdaxis.data.lesions.deeplesion_table import (
    FILE,
    SPLITS,
    LesionTable,
    read_lesion_table,
    row_faults,
)
from thirdaxis.data.lesions.key_slice import KeySlice, LesionSet
from thirdaxis.data.lesions.stack import slice_weights, stack_slices
from thirdaxis.errors import InputError, UsageError, did_you_mean

TABLE, IMAGES = "DL_info.csv", "Images_png"


def read_deeplesion(
    folder: str | Path,
    split: str | None = None,
    *,
    table: str = TABLE,
    legacy: bool = False,
    faults: list[str] | None = None,
    kept: int = 64,
) -> LesionSet:
    """Reads the table of lesions and finds the slices; pixels are read when they are asked for.

    Source: Yan et al., "DeepLesion: automated mining of large-scale lesion annotations and
    universal lesion detection with deep learning", Journal of Medical Imaging, 2018.

    One key slice has all its lesions. Coordinates count from 0 (the file counts from 1), possibly
    noisy lesions are left out, boxes that reach over the border of the image are cut there. Where
    the interval between slices is not known or not above 0, the stack around a key slice repeats
    it; where a slice is missing, the next one towards the key slice stands in for it.

    Args:
        folder: holds the table and ``Images_png/PATIENT_STUDY_SERIES/SLICE.png`` (the
            archives' own ``Images_png`` folders may be nested in it or lie beside each other as
            ``Images_png_01/Images_png``).
        split: ``train``, ``val`` or ``test``; none reads all three.
        table: file name of the table.
        legacy: interpolate between slices as the first codes did, see `slice_weights`.
        faults: gets a line for each lesion that cannot be used, which is then left out; without
            it the first one is raised.
        kept: slices that the reader keeps in memory, 0.5 MiB each at 512 pixels.

    Returns:
        Key slices in the order of the table.

    Raises:
        InputError: no such folder or table, a missing or unreadable column, nothing of this split;
            and without `faults` a row about a slice that is not there, a row twice, or a box that
            is inverted, of zero size or outside its image.
        UsageError: an unknown split.
    """
    folder = Path(folder)
    if split is not None and split not in SPLITS.values():
        raise UsageError(f"unknown split {split!r}{did_you_mean(split, SPLITS.values())}")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    path = folder / table
    rows = read_lesion_table(path)
    rows = rows.rows(~rows.noisy)
    rows = _without(path, rows, row_faults(rows), faults)
    if split is not None:
        rows = rows.rows(rows.splits == {name: key for key, name in SPLITS.items()}[split])
    series = _series_folders(folder)
    rows = _without(path, rows, _missing_slices(rows, series, folder), faults)
    if not len(rows.lines):
        raise InputError(f"{path}: no lesion{f' of the split {split!r}' if split else ''} to use")
    return LesionSet(tuple(key_slices(rows)), SeriesSlices(series, legacy, kept), str(folder))


def key_slices(table: LesionTable) -> list[KeySlice]:
    """Rows grouped by slice, in the order in which the slices first appear.

    Args:
        table: rows without faults.

    Returns:
        Key slices, boxes cut at the image.
    """
    groups: dict[str, list[int]] = {}
    for row, file in enumerate(table.files.tolist()):
        groups.setdefault(file, []).append(row)
    order = np.array([row for group in groups.values() for row in group], dtype=int)
    sizes = [len(group) for group in groups.values()]
    limit = table.sizes[:, [0, 1, 0, 1]] - 1
    boxes = np.clip(table.boxes, 0, limit)[order]
    columns = zip(
        _parts(torch.from_numpy(boxes).float(), sizes),
        _parts(torch.from_numpy(table.recists[order]).float(), sizes),
        _parts(torch.from_numpy(table.kinds[order]).long(), sizes),
        strict=True,
    )
    found = []
    for (file, group), (box, recist, kind) in zip(groups.items(), columns, strict=True):
        name = FILE.fullmatch(file)
        assert name is not None
        (width, height), (x, y, z) = table.sizes[group[0]], table.spacing[group[0]].tolist()
        found.append(
            KeySlice(
                name=f"{name['series']}/{name['slice']}",
                patient=name["patient"],
                boxes=box,
                size=(int(height), int(width)),
                spacing=(z if z > 0 else float("nan"), y, x),
                recists=recist,
                kinds=kind,
                split=SPLITS[int(table.splits[group[0]])],
            )
        )
    return found


@dataclass
class SeriesSlices:
    """Reads stacks of slices out of folders of PNG files: a `SliceReader`.

    Args:
        series: name of a series -> its folder.
        legacy: see `slice_weights`.
        kept: slices kept in memory.
    """

    series: dict[str, Path]
    legacy: bool = False
    kept: int = 64
    _memory: OrderedDict[Path, np.ndarray] = field(default_factory=OrderedDict, repr=False)

    def __call__(self, key_slice: KeySlice, depth: int, interval: float | None) -> np.ndarray:
        """Stacks ``(depth, H, W)`` float32 in HU around a key slice.

        Raises:
            InputError: a damaged slice, one of other than 16 bits, or of another size than told.
            UsageError: an even depth, or an interval that is no length.
        """
        offsets, weights = slice_weights(depth, key_slice.spacing[0], interval, self.legacy)
        name, number = key_slice.name.split("/")
        folder, digits = self.series[name], len(number)

        def place(number: int) -> Path:
            return folder / f"{number:0{digits}}.png"

        def load(number: int) -> np.ndarray:
            return self._load(place(number), key_slice.size)

        return stack_slices(
            load, lambda number: place(number).is_file(), int(number), offsets, weights
        )

    def _load(self, path: Path, size: tuple[int, int]) -> np.ndarray:
        if path in self._memory:
            self._memory.move_to_end(path)
            return self._memory[path]
        found = read_ct_png(path)
        if found.shape != size:
            raise InputError(
                f"{path}: is {found.shape[1]} x {found.shape[0]} pixels, the table says "
                f"{size[1]} x {size[0]}; copy it again or mend the table"
            )
        if self.kept > 0:
            self._memory[path] = found
            if len(self._memory) > self.kept:
                self._memory.popitem(last=False)
        return found

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_memory": OrderedDict()}  # a worker starts with nothing


def _parts(rows: Tensor, sizes: list[int]) -> list[Tensor]:
    return [part.clone() for part in rows.split(sizes)]  # a view is pickled with all its rows


def _series_folders(folder: Path) -> dict[str, Path]:
    roots = sorted(path for path in folder.glob(f"{IMAGES}*") if path.is_dir())
    found = {}
    for root in [*roots, *(path / IMAGES for path in roots if (path / IMAGES).is_dir())]:
        with os.scandir(root) as entries:
            found.update({entry.name: root / entry.name for entry in entries})
    return found


def _missing_slices(
    rows: LesionTable, series: dict[str, Path], folder: Path
) -> Iterable[tuple[int, str]]:
    known: dict[str, bool] = {}
    for row, file in enumerate(rows.files.tolist()):
        name = FILE.fullmatch(file)
        assert name is not None
        if file not in known:
            place = series.get(name["series"])
            known[file] = place is not None and (place / f"{name['slice']}.png").is_file()
        if not known[file]:
            expected = folder / IMAGES / name["series"] / f"{name['slice']}.png"
            yield row, f"no image {expected}; unpack the archive that has it or take out the row"


def _without(
    path: Path, rows: LesionTable, wrong: Iterable[tuple[int, str]], faults: list[str] | None
) -> LesionTable:
    found: dict[int, str] = {}
    for row, what in wrong:
        found.setdefault(row, what)
    told = [f"{path}, line {rows.lines[row]}: {found[row]}" for row in sorted(found)]
    if told and faults is None:
        more = f" ({len(told) - 1} more rows have faults)" if len(told) > 1 else ""
        raise InputError(told[0] + more)
    if faults is not None:
        faults.extend(told)
    keep = np.ones(len(rows.lines), bool)
    keep[list(found)] = False
    return rows.rows(keep)
