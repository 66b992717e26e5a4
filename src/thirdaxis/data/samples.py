"""A CSV table of samples: a scan each, its labels, its patient, and where in the scan to look."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from thirdaxis.data.volume import file_ending
from thirdaxis.errors import InputError, UsageError, did_you_mean

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Columns:
    """Which columns of a table say what; a table may have others.

    Args:
        file: the scan, relative to the folder of the images.
        labels: the label, or several.
        patient: whom the scan is of; none takes each file as a patient of its own.
        mask: the mask, relative to the folder of the masks; ``file`` where both have one name.
        centre: x, y and z of the place to look at.
        spacing: x, y and z spacing in mm that replaces that of the file.
        part: an official split: ``train`` (or ``training``), ``val`` (``valid``, ``validation``)
            or ``test``.
    """

    file: str = "file"
    labels: tuple[str, ...] = ("label",)
    patient: str | None = None
    mask: str | None = None
    centre: tuple[str, str, str] | None = None
    spacing: tuple[str, str, str] | None = None
    part: str | None = None

    def named(self, labelled: bool = True) -> list[str]:
        """All columns that the table has to have."""
        single = [self.file, *(self.labels if labelled else ()), self.patient, self.mask, self.part]
        several = [*(self.centre or ()), *(self.spacing or ())]
        return [name for name in (*single, *several) if name is not None]


@dataclass(frozen=True)
class Sample:
    """One row of a table.

    Args:
        name: of the file without its ending, and of the row where a file has several.
        file: the scan.
        labels: as they are written, whole numbers without a point; empty where the table has none.
        patient: whom the scan is of.
        mask: of the place to look at.
        centre: x, y, z of the place to look at, in the table's own unit.
        spacing: x, y, z in mm, in place of the file's.
        part: ``training``, ``validation`` or ``test`` of an official split.
    """

    name: str
    file: Path
    labels: tuple[str, ...]
    patient: str
    mask: Path | None = None
    centre: Point | None = None
    spacing: Point | None = None
    part: str | None = None


PARTS = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    "test": "test",
}


def read_samples(
    table: Path,
    columns: Columns,
    *,
    images: str = ".",
    masks: str = ".",
    drop: Sequence[str] = (),
    labelled: bool = True,
) -> list[Sample]:
    """Reads a table, without opening the scans.

    Args:
        table: a CSV file with a line of column names, UTF-8.
        columns: which of them say what.
        images: folder of the scans, relative to the table's.
        masks: folder of the masks, relative to the table's.
        drop: rows with one of these labels are left out.
        labelled: whether the table has labels.

    Returns:
        The samples in the order of the table.

    Raises:
        InputError: no such table, a column or file that is missing, an empty or impossible cell,
            or no rows.
    """
    rows = _rows(table)
    for column in columns.named(labelled):
        if column not in rows[0]:
            raise InputError(f"{table}: no column {column!r}{did_you_mean(column, rows[0])}")
    dropped = {plain_label(label) for label in drop}
    found = []
    for line, row in enumerate(rows, start=2):
        where = f"{table}, line {line}"
        labels = tuple(plain_label(_cell(row, name, where)) for name in columns.labels)
        if not labelled:
            labels = ()
        if dropped.intersection(labels):
            continue
        file = _file(table.parent / images, _cell(row, columns.file, where), where)
        mask = columns.mask and _file(table.parent / masks, _cell(row, columns.mask, where), where)
        part = None if columns.part is None else _cell(row, columns.part, where)
        if part is not None and part.lower() not in PARTS:
            raise InputError(f"{where}: the part {part!r} is none of {', '.join(PARTS)}")
        name = file.name.removesuffix(file_ending(file)) or file.name
        found.append(
            Sample(
                name=name,
                file=file,
                labels=labels,
                patient=_cell(row, columns.patient, where) if columns.patient else str(file),
                mask=mask or None,
                centre=_point(row, columns.centre, where),
                spacing=_point(row, columns.spacing, where, positive=True),
                part=None if part is None else PARTS[part.lower()],
            )
        )
    if not found:
        raise InputError(f"{table}: no samples are left of {len(rows)} rows")
    return _unique(found)


def plain_label(label: object) -> str:
    """A label as it is compared: 3, 3.0 and "3" are one."""
    text = str(label).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def mapped(samples: Sequence[Sample], classes: Mapping[str, str]) -> list[Sample]:
    """Samples whose labels are called otherwise, such as 4 and 5 both malignant.

    Args:
        samples: with labels as written.
        classes: label as written to what it stands for.

    Raises:
        UsageError: a label that the mapping leaves out.
    """
    known = {plain_label(label): plain_label(name) for label, name in classes.items()}
    done = []
    for sample in samples:
        strange = [label for label in sample.labels if label not in known]
        if strange:
            raise UsageError(
                f"{sample.file.name}: the label {strange[0]!r} is not in the mapping, which has "
                f"{', '.join(known)}; map it, or drop it"
            )
        labels = tuple(known[label] for label in sample.labels)
        done.append(Sample(**{**vars(sample), "labels": labels}))
    return done


def _rows(table: Path) -> list[dict[str, str]]:
    if not table.is_file():
        raise InputError(f"{table}: no such table")
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as fault:
        raise InputError(f"{table}: not a CSV file in UTF-8 ({fault})") from None
    if not rows:
        raise InputError(f"{table}: no rows below the line of column names")
    return rows


def _cell(row: Mapping[str, str | None], column: str, where: str) -> str:
    value = (row.get(column) or "").strip()
    if not value:
        raise InputError(f"{where}: the cell {column!r} is empty")
    return value


def _file(folder: Path, name: str, where: str) -> Path:
    path = folder / name
    if not path.exists():
        raise InputError(f"{where}: {path}: no such file or folder")
    return path


def _point(
    row: Mapping[str, str | None],
    columns: tuple[str, str, str] | None,
    where: str,
    *,
    positive: bool = False,
) -> Point | None:
    if columns is None:
        return None
    numbers = []
    for column in columns:
        text = _cell(row, column, where)
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or (positive and number <= 0):
            kind = "a positive number" if positive else "a number"
            raise InputError(f"{where}: {column} is {text!r}, expected {kind}")
        numbers.append(number)
    x, y, z = numbers
    return x, y, z


def _unique(samples: list[Sample]) -> list[Sample]:
    """A name for each: rows of one file are counted."""
    total: dict[str, int] = {}
    for sample in samples:
        total[sample.name] = total.get(sample.name, 0) + 1
    seen: dict[str, int] = {}
    named = []
    for sample in samples:
        seen[sample.name] = seen.get(sample.name, 0) + 1
        several = total[sample.name] > 1
        name = f"{sample.name}-{seen[sample.name]}" if several else sample.name
        named.append(Sample(**{**vars(sample), "name": name}))
    return named
