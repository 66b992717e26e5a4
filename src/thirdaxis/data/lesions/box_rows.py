"""Tables of boxes in scans: their rows, whatever each is told in."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thirdaxis.errors import InputError, did_you_mean

SPLITS = ("train", "val", "test")
UNITS = ("", "_mm", "_lps_mm")
"""What column names end on: voxels of the file, RAS mm, LPS mm."""
Row = Mapping[str, Any]
Corner = tuple[float, float, float]


@dataclass(frozen=True)
class BoxEnds:
    """A box as its row tells it.

    Args:
        low: x1, y1, z1.
        high: x2, y2, z2.
        mm: whether they are RAS+ mm, else the file's own voxels from 0.
        flat: whether it is on one slice, told by a single z.
    """

    low: Corner
    high: Corner
    mm: bool
    flat: bool

    def __str__(self) -> str:
        return ", ".join(f"{number:g}" for number in (*self.low, *self.high))


def read_rows(path: Path, key: str = "boxes") -> list[tuple[str, Row]]:
    """The rows of a table, each with the words that name its place.

    Args:
        path: a CSV file with a header, or JSON: a list of objects, or an object that has one.
        key: of the list in such an object.

    Raises:
        InputError: no such file, or another format.
    """
    try:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, skipinitialspace=True)
                return [(f"{path}, line {reader.line_num}", row) for row in reader]
        if path.suffix.lower() == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            rows = content.get(key) if isinstance(content, dict) else content
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise InputError(f"{path}: expected a list of objects, one a lesion")
            word = key.removesuffix("es" if key == "boxes" else "s")
            return [(f"{path}, {word} {number}", row) for number, row in enumerate(rows, 1)]
    except FileNotFoundError:
        raise InputError(f"{path}: no such table of {key} or folder of label maps") from None
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as fault:
        raise InputError(f"{path}: not readable as {path.suffix[1:].upper()} ({fault})") from None
    raise InputError(f"{path}: {key} are a .csv or .json table, or a folder of label maps")


def box_ends(where: str, row: Row) -> BoxEnds:
    """The ends of a row's box.

    They are called ``x1, y1, x2, y2`` and ``z``, or ``z1, z2``, in the file's own voxels, or the
    same with ``_mm`` in RAS+ mm or ``_lps_mm`` in LPS mm.

    Raises:
        InputError: a missing column or cell, or a box that is inverted or of zero size.
    """
    unit = next((unit for unit in ("_mm", "_lps_mm") if not blank(row, f"x1{unit}")), "")
    flat = not blank(row, f"z{unit}")
    names = ["x1", "y1", "x2", "y2", *(["z", "z"] if flat else ["z1", "z2"])]
    x1, y1, x2, y2, z1, z2 = (number(where, row, f"{name}{unit}") for name in names)
    if unit == "_lps_mm":
        x1, x2, y1, y2 = -x2, -x1, -y2, -y1
    ends = BoxEnds((x1, y1, z1), (x2, y2, z2), bool(unit), flat)
    if x2 <= x1 or y2 <= y1 or z2 < z1:
        raise InputError(f"{where}: the box is inverted or of zero size, {ends} (x, y, z)")
    return ends


def has_no_box(row: Row) -> bool:
    """Whether a row names a scan alone: one in which nothing was found."""
    names = [f"{axis}{end}{unit}" for axis in "xyz" for end in ("1", "2", "") for unit in UNITS]
    return all(blank(row, name) for name in names)


def split_of(where: str, row: Row) -> str | None:
    """The official part of a row.

    Raises:
        InputError: a word that is none.
    """
    split = row.get("split") or None
    if split is not None and split not in SPLITS:
        raise InputError(f"{where}: unknown split {split!r}{did_you_mean(str(split), SPLITS)}")
    return split


def cell(where: str, row: Row, name: str) -> Any:
    """What a row has in a column.

    Raises:
        InputError: no such column, or an empty cell.
    """
    if name not in row:
        known = [key for key in row if key]
        raise InputError(f"{where}: has no column {name!r}{did_you_mean(name, known)}")
    if blank(row, name):
        raise InputError(f"{where}: {name} is empty")
    return row[name]


def blank(row: Row, name: str) -> bool:
    """Whether a row has nothing in a column."""
    return row.get(name) in (None, "")


def number(where: str, row: Row, name: str) -> float:
    """A number of a row.

    Raises:
        InputError: as `cell`, or something else in it.
    """
    value = cell(where, row, name)
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"{where}: {name} is a number, not {value!r}")
    return found
