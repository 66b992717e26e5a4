"""The annotations of DeepLesion as they are published: `DL_info.csv`, one lesion a row."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thirdaxis.errors import InputError, did_you_mean

FILE = re.compile(r"(?P<series>(?P<patient>\d+)_\d+_\d+)_(?P<slice>\d+)\.png")
SPLITS = {1: "train", 2: "val", 3: "test"}
NUMBERS = {
    "Measurement_coordinates": 8,
    "Bounding_boxes": 4,
    "Coarse_lesion_type": 1,
    "Possibly_noisy": 1,
    "Spacing_mm_px_": 3,
    "Image_size": 2,
    "Train_Val_Test": 1,
}
"""Columns that are used, beside File_name, and how many numbers a cell holds."""


@dataclass(frozen=True, eq=False)
class LesionTable:
    """Lesions in the order of the file, coordinates counted from 0.

    Args:
        lines: of the file, for errors.
        files: ``PATIENT_STUDY_SERIES_SLICE.png``.
        boxes: ``(N, 4)``, x1, y1, x2, y2 in pixels.
        recists: ``(N, 8)``, x and y of the ends of the long, then of the short diameter; all nan
            where they were not measured.
        kinds: ``(N,)``, coarse type, -1 or 1 to 8.
        noisy: ``(N,)``, what the makers call possibly wrong.
        spacing: ``(N, 3)``, mm along x, y and from slice to slice.
        sizes: ``(N, 2)``, width and height in pixels.
        splits: ``(N,)``, 1 training, 2 validation, 3 test.
    """

    lines: np.ndarray
    files: np.ndarray
    boxes: np.ndarray
    recists: np.ndarray
    kinds: np.ndarray
    noisy: np.ndarray
    spacing: np.ndarray
    sizes: np.ndarray
    splits: np.ndarray

    def rows(self, which: np.ndarray) -> "LesionTable":
        """Some rows, by index or by a mask."""
        return LesionTable(**{name: column[which] for name, column in vars(self).items()})


def read_lesion_table(path: Path) -> LesionTable:
    """Reads the table; other columns than those used may be missing.

    Args:
        path: ``DL_info.csv``.

    Returns:
        All rows, unjudged, coordinates minus 1, for the file counts from 1.

    Raises:
        InputError: no such file, a missing column, or a cell without the numbers expected.
    """
    lines, cells = _read_cells(path)
    found = {
        name: _numbers(path, name, lines, cells[name], count) for name, count in NUMBERS.items()
    }
    return LesionTable(
        lines=np.array(lines),
        files=np.array(cells["File_name"]),
        boxes=found["Bounding_boxes"] - 1,
        recists=found["Measurement_coordinates"] - 1,
        kinds=found["Coarse_lesion_type"][:, 0],
        noisy=found["Possibly_noisy"][:, 0] > 0,
        spacing=found["Spacing_mm_px_"],
        sizes=found["Image_size"],
        splits=found["Train_Val_Test"][:, 0],
    )


def row_faults(table: LesionTable) -> Iterator[tuple[int, str]]:
    """Judges rows by themselves, without the images.

    A box may reach over the border of the image, as boxes of the published table do: it is a
    diameter's extent and 5 pixels more.

    Args:
        table: as read.

    Yields:
        Index of a row and what is wrong with it; a row may come more than once.
    """
    x1, y1, x2, y2 = table.boxes.T
    measured = np.isfinite(table.recists).all(axis=1)
    unmeasured = np.isnan(table.recists).all(axis=1)
    width, height = table.sizes.T
    first: dict[tuple[str, bytes], int] = {}
    about: dict[str, int] = {}
    for row, file in enumerate(table.files.tolist()):
        if FILE.fullmatch(file) is None:
            yield row, f"File_name is PATIENT_STUDY_SERIES_SLICE.png, not {file!r}"
        before = first.setdefault((file, table.boxes[row].tobytes()), row)
        if before != row:
            yield row, f"the same lesion as in line {table.lines[before]}; keep one of them"
        about.setdefault(file, row)
    leader = np.array([about[file] for file in table.files.tolist()], dtype=int)
    same = np.ones(len(leader), bool)
    for column in (table.spacing, table.sizes, table.splits[:, None]):
        equal = (column == column[leader]) | (np.isnan(column) & np.isnan(column[leader]))
        same &= equal.all(axis=1)
    for wrong, text in (
        (
            ~(np.isfinite(table.sizes) & (table.sizes >= 2) & (table.sizes % 1 == 0)).all(axis=1),
            "Image_size is a width and a height in pixels, not {sizes}",
        ),
        (
            ~(np.isfinite(table.spacing[:, :2]) & (table.spacing[:, :2] > 0)).all(axis=1),
            "the pixel spacing is a positive length in mm, not {spacing}",
        ),
        (
            ~np.isfinite(table.boxes).all(axis=1) | ~(measured | unmeasured),
            "a coordinate is not a finite number",
        ),
        ((x2 <= x1) | (y2 <= y1), "the box is inverted or of zero size, {boxes} (from 1)"),
        (
            (x2 <= 0) | (y2 <= 0) | (x1 >= width - 1) | (y1 >= height - 1),
            "the box {boxes} (from 1) lies outside its image of {sizes}",
        ),
        (~np.isin(table.splits, list(SPLITS)), "Train_Val_Test is 1, 2 or 3, not {splits}"),
        (~np.isin(table.kinds, [-1, *range(1, 9)]), "Coarse_lesion_type is -1 or 1 to 8"),
        (~same, "another spacing, size or split than in an earlier line of the same slice"),
    ):
        for row in np.flatnonzero(wrong).tolist():
            yield (
                row,
                text.format(
                    boxes=_listed(table.boxes[row] + 1),
                    sizes=_listed(table.sizes[row], " x "),
                    spacing=_listed(table.spacing[row]),
                    splits=_listed(table.splits[row : row + 1]),
                ),
            )


def _read_cells(path: Path) -> tuple[list[int], dict[str, list[str]]]:
    wanted = ("File_name", *NUMBERS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            for name in wanted:
                if name not in header:
                    raise InputError(f"{path}: has no column {name!r}{did_you_mean(name, header)}")
            rows = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise InputError(f"{path}: no such table of lesions") from None
    except (UnicodeDecodeError, csv.Error) as fault:
        raise InputError(f"{path}: not readable as CSV in UTF-8 ({fault})") from None
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {line}: {len(row)} cells, the header has {len(header)}; a cell with "
                "commas stands in quotes"
            )
    columns = list(zip(*(row for _, row in rows), strict=True)) or [()] * len(header)
    return [line for line, _ in rows], {
        name: [cell.strip() for cell in columns[header.index(name)]] for name in wanted
    }


def _numbers(path: Path, name: str, lines: list[int], cells: list[str], count: int) -> np.ndarray:
    split = [cell.split(",") for cell in cells]
    try:
        if all(len(parts) == count for parts in split):
            return np.array(split, dtype=np.float64).reshape(-1, count)
    except ValueError:
        pass
    for line, cell, parts in zip(lines, cells, split, strict=True):
        try:
            good = len([float(part) for part in parts]) == count
        except ValueError:
            good = False
        if not good:
            wanted = "a number" if count == 1 else f"{count} numbers with commas between"
            raise InputError(f"{path}, line {line}: {name} is {wanted}, not {cell!r}")
    raise AssertionError("NumPy refused what Python reads")  # pragma: no cover


def _listed(numbers: np.ndarray, between: str = ", ") -> str:
    return between.join(f"{number:g}" for number in numbers)
