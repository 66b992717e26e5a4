"""What is written of a scan in which lesions were looked for, and read back."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thirdaxis.atomic import write_text
from thirdaxis.errors import InputError
from thirdaxis.tasks.detection.link import Linking
from thirdaxis.tasks.detection.measure import Lesion

LESIONS_CSV, LESIONS_JSON, DETECTIONS = "lesions.csv", "lesions.json", "detections.json"
FORMAT, VERSION = "thirdaxis-lesions", 1
COLUMNS = (
    *("lesion", "score", "slices"),
    *("i_first", "i_last", "j_first", "j_last", "k_first", "k_last"),
    *("right_left_mm", "front_back_mm", "top_down_mm"),
    *("ras_x_mm", "ras_y_mm", "ras_z_mm", "lps_x_mm", "lps_y_mm", "lps_z_mm"),
    *("long_diameter_mm", "short_diameter_mm", "diameters_from", "diameters_on_slice"),
    *("key_slice", "key_x1", "key_y1", "key_x2", "key_y2"),
)
AXES = (
    "voxels: first and last along the file's axes i, j, k, from 0; RAS: mm to the right, front and "
    "top (NIfTI); LPS: mm to the left, back and top (DICOM); slices: of the scan turned so that "
    "they run upwards, from 0; boxes: x1, y1, x2, y2 in pixels from 0, x to the patient's left, y "
    "to the back"
)


def lesions_csv(lesions: Sequence[Lesion]) -> str:
    """A line a lesion, the highest score first."""
    out = io.StringIO()
    rows = [_flat(number, lesion.plain()) for number, lesion in enumerate(lesions, 1)]
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def lesions_json(lesions: Sequence[Lesion], how: Linking, about: Mapping[str, Any]) -> str:
    """The same with what the numbers mean and how they were made."""
    told = {
        "format": FORMAT,
        "version": VERSION,
        **about,
        "axes": AXES,
        "linking": asdict(how),
        "lesions": [{"lesion": n, **lesion.plain()} for n, lesion in enumerate(lesions, 1)],
    }
    return json.dumps(told, indent=2, allow_nan=False) + "\n"


def read_lesions(path: Path) -> dict[str, Any]:
    """Reads a `lesions.json`.

    Raises:
        InputError: no such file, or not one that `lesions_json` made.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as fault:
        raise InputError(f"{path}: not readable as JSON ({fault})") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise InputError(f"{path}: not a list of lesions that `thirdaxis predict` wrote")
    return told


def write_summary(path: Path, scans: Iterable[tuple[str, Path]]) -> None:
    """Writes one table of the lesions of all scans.

    Args:
        path: the CSV file.
        scans: names, and their `lesions.json`.
    """
    rows = []
    for name, place in scans:
        for lesion in read_lesions(place)["lesions"]:
            number = lesion.pop("lesion")
            rows.append({"scan": name, **_flat(number, lesion)})
    out = io.StringIO()
    writer = csv.DictWriter(out, ["scan", *COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, out.getvalue())


def _flat(number: int, plain: Mapping[str, Any]) -> dict[str, Any]:
    """A lesion as the cells of a row."""
    row: dict[str, Any] = {"lesion": number}
    for name, value in plain.items():
        if name == "voxels":
            for axis, (low, high) in value.items():
                row |= {f"{axis}_first": low, f"{axis}_last": high}
        elif name == "size_mm":
            row |= dict(zip(("right_left_mm", "front_back_mm", "top_down_mm"), value, strict=True))
        elif name in ("centre_ras_mm", "centre_lps_mm"):
            axes = name.split("_")[1]
            row |= {f"{axes}_{axis}_mm": one for axis, one in zip("xyz", value, strict=True)}
        elif name == "key_box":
            row |= {
                f"key_{end}": one for end, one in zip(("x1", "y1", "x2", "y2"), value, strict=True)
            }
        else:
            row[name] = value
    return row
