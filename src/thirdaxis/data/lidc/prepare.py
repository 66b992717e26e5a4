"""LIDC-IDRI from its DICOM series and XML files to crops of nodules with a table of ratings."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from thirdaxis.atomic import write_text
from thirdaxis.data.dicom.series import read_dicom, series_files
from thirdaxis.data.dicom.slices import SOP_UID, THICKNESS, header
from thirdaxis.data.lidc.crops import crop_affine, crop_image, crop_mask, write_crop
from thirdaxis.data.lidc.folder import Marks, Series, find_ct_series, find_marks, slice_finder
from thirdaxis.data.lidc.nodules import RULES, Nodule, find_nodules
from thirdaxis.errors import InputError, UsageError, did_you_mean

COLUMNS = (
    *("file", "patient_id", "nodule_id", "diagnosis", "malignancy", "texture", "spiculation"),
    *("calcification", "diameter_mm", "volume_mm3"),
)
LABELS, IMAGES, MASKS, DONE = "labels.csv", "images", "masks", "series"
SMALLEST_SIDE = 58
"""Voxels: a crop of 48, moved by up to 5 either way, as the papers train."""

Row = dict[str, str | int | float]


@dataclass
class Prepared:
    """What became of a folder.

    Args:
        nodules: rows of the table.
        small: marks of nodules below 3 mm, which get no crop.
        non_nodules: marks of what is no nodule.
        without_mask: nodules that no half of their readers agree on in any voxel; no crop.
        made: series read now.
        kept: series that were finished before.
        without_images: XML files about series that are not in the folder.
        faults: what could not be prepared, one line each.
    """

    nodules: int = 0
    small: int = 0
    non_nodules: int = 0
    without_mask: int = 0
    made: int = 0
    kept: int = 0
    without_images: int = 0
    faults: list[str] = field(default_factory=list)


def prepare_lidc(
    folder: str | Path,
    out: str | Path,
    *,
    side: int = 80,
    rule: str = "mode",
    watch: Callable[[Sequence[Series]], Iterable[Series]] = lambda series: series,
) -> Prepared:
    """Writes a crop and a consensus mask for each nodule of LIDC-IDRI, and `labels.csv`.

    The marks of up to four readers become nodules by `group`, with the slice thickness as the
    tolerance; a voxel belongs to a nodule where at least half of its readers say so. Crops are
    1 mm cubes of the CT, HU within -1024 to 400. A series that cannot be read is told at the end;
    the others are done. Run again, finished series with the same settings are left as they are.

    `diagnosis` is no finding of pathology: it is 1 where the readers' mean malignancy is above 3.
    `diameter_mm` is the mean over readers of the greatest extent in a slice; `volume_mm3` is the
    consensus mask's on the scan's own grid.

    Args:
        folder: holds the DICOM series at any depth, each in a folder of its own, and the XML files
            at any depth, beside their series or apart.
        out: gets `images/`, `masks/`, `series/` (what was finished) and `labels.csv`.
        side: voxels along each side of a crop, 58 at least.
        rule: how readers' ratings become one, `mode` or `median`; of two the lower.
        watch: wraps the series to show progress.

    Returns:
        Counts, and a line for each series or XML file that failed.

    Raises:
        InputError: no such folder, or no LIDC XML file or no CT series in it.
        UsageError: too small a side, or an unknown rule.
        OSError: where the results cannot be written.
    """
    folder, out = Path(folder), Path(out)
    if side < SMALLEST_SIDE:
        raise UsageError(f"a crop has {SMALLEST_SIDE} voxels a side or more, not {side}")
    if rule not in RULES:
        raise UsageError(f"unknown rule {rule!r}{did_you_mean(rule, RULES)}")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    told = Prepared()
    marks = find_marks(folder, told.faults)
    if not marks:
        raise InputError(
            f"{folder}: no readable XML file of LIDC-IDRI (root LidcReadMessage); "
            f"{told.faults[0] if told.faults else 'put them beside the series or below the folder'}"
        )
    found = find_ct_series(folder, told.faults)
    if not found:
        raise InputError(f"{folder}: no CT series; expected folders of DICOM files")
    told.without_images = len(set(marks) - {series.uid for series in found})
    for place in (IMAGES, MASKS, DONE):
        (out / place).mkdir(parents=True, exist_ok=True)
    settings = {"side": side, "rule": rule}
    rows: list[Row] = []
    for series in watch(found):
        record = out / DONE / f"{series.uid}.json"
        done = _read_record(record, settings)
        if done is None:
            try:
                done = _prepare_series(series, marks.get(series.uid), out, side, rule)
            except InputError as fault:
                told.faults.append(str(fault))
                continue
            write_text(record, json.dumps({"settings": settings, **done}))
            told.made += 1
        else:
            told.kept += 1
        rows += done["rows"]
        for key in ("small", "non_nodules", "without_mask"):
            setattr(told, key, getattr(told, key) + done[key])
    told.nodules = len(rows)
    _write_table(out / LABELS, rows)
    return told


def _prepare_series(
    series: Series,
    marks: Marks | None,
    out: Path,
    side: int,
    rule: str,
) -> dict:  # type: ignore[type-arg]
    if marks is None:
        raise InputError(f"{series.folder}: no XML file names this series, {series.uid}")
    if isinstance(marks, InputError):
        raise marks
    path, reads = marks
    raw = read_dicom(series.folder)
    scan, affine = raw.array[0], raw.affine
    tags = [header(name) for name in series_files(series.folder)]
    where = slice_finder(path, [tag.get(SOP_UID, "").strip("\0 ") for tag in tags], scan, affine)
    thickness = float(tags[0].get(THICKNESS, "").strip() or 0)
    tolerance = thickness if thickness > 0 else float(np.linalg.norm(affine[:3, 0]))
    rows: list[Row] = []
    lost = 0
    patient = re.sub(r"[^\w.-]", "_", series.patient)
    for nodule in find_nodules(reads.readings, where, affine, tolerance, rule):
        if not nodule.mask.any():
            lost += 1
            continue
        number = len(rows) + 1
        name = f"{patient}_{series.uid[-5:]}_{number}.nii.gz"
        grid = crop_affine(nodule, affine, side)
        write_crop(out / IMAGES / name, crop_image(scan, affine, grid, side), grid)
        write_crop(out / MASKS / name, crop_mask(nodule, affine, grid, side), grid)
        rows.append(_row(name, series.patient, number, nodule))
    return {
        "rows": rows,
        "small": reads.small,
        "non_nodules": reads.non_nodules,
        "without_mask": lost,
    }


def _row(name: str, patient: str, number: int, nodule: Nodule) -> Row:
    mean = nodule.malignancy_mean
    values: tuple[str | int | float, ...] = (
        *(name, patient, number, "" if math.isnan(mean) else int(mean > 3)),
        *(nodule.ratings.get(key, "") for key in COLUMNS[4:8]),
        *(round(nodule.diameter_mm, 3), round(nodule.volume_mm3, 1)),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _read_record(path: Path, settings: dict[str, object]) -> dict | None:  # type: ignore[type-arg]
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.pop("settings", None) == settings else None


def _write_table(path: Path, rows: Sequence[Row]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())
