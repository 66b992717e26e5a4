"""Places of lesions in volumes, found by any tool: a table of points with scores, and boxes."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from thirdaxis.data.lesions.axial import AxialGrid
from thirdaxis.data.lesions.box_rows import UNITS, Row, blank, cell, number, read_rows
from thirdaxis.data.lesions.volumes import BoxedVolume
from thirdaxis.data.volume import file_ending
from thirdaxis.errors import InputError

FORMAT, VERSION = "thirdaxis-points", 1
ENDS = tuple(f"{axis}{end}" for end in (1, 2) for axis in "xyz")
COLUMNS = (
    *("file", "point", "score"),
    *(f"{axis}{unit}" for unit in UNITS for axis in "xyz"),
    *(f"{end}{unit}" for unit in UNITS[:2] for end in ENDS),
)
AXES = (
    "x, y, z: voxels along the file's axes i, j, k, the first one's centre is 0; _mm: RAS, to the "
    "right, front and top (NIfTI); _lps_mm: to the left, back and top (DICOM); x1 to z2: ends of a "
    "box around the point"
)


@dataclass(frozen=True, eq=False)
class Points:
    """What was found in a volume, the highest score first.

    Args:
        places: (K, 3) d, h, w in voxels of the volume turned to axial slices.
        scores: (K,) any finite numbers.
        boxes: (K, 6) lowest, then highest (d, h, w); none where there are none.
    """

    places: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray | None = None

    def from_score(self, least: float) -> "Points":
        """Those of so high a score."""
        kept = self.scores >= least
        boxes = None if self.boxes is None else self.boxes[kept]
        return Points(self.places[kept], self.scores[kept], boxes)


def point_rows(file: str, found: Points, grid: AxialGrid) -> list[dict[str, Any]]:
    """The points of a volume as rows of a table, in voxels of the file and in mm.

    Args:
        file: how the table calls the volume.
        found: in it.
        grid: of it.
    """
    rows = []
    ends = {"": torch.linalg.inv(grid.from_voxel), "_mm": torch.linalg.inv(grid.from_mm)}
    for place in range(len(found.scores)):
        row: dict[str, Any] = {"file": file, "point": place + 1}
        row["score"] = round(float(found.scores[place]), 6)
        for unit, step in ends.items():
            row |= _named(_moved(found.places[place][None], step)[0], [f"{a}{unit}" for a in "xyz"])
            if found.boxes is not None:
                corners = _moved(_corners(found.boxes[place]), step)
                span = np.concatenate([corners.min(0), corners.max(0)])
                row |= _named(span, [f"{end}{unit}" for end in ENDS])
        row |= {"x_lps_mm": 0.0 - row["x_mm"], "y_lps_mm": 0.0 - row["y_mm"]}
        row["z_lps_mm"] = row["z_mm"]
        rows.append({name: row[name] for name in COLUMNS if name in row})
    return rows


def points_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """A line a point."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def points_json(
    rows: Sequence[Mapping[str, Any]], files: Sequence[str], about: Mapping[str, Any]
) -> str:
    """The same with what the numbers mean, and which volumes were searched."""
    told = {"format": FORMAT, "version": VERSION, **about, "axes": AXES, "files": list(files)}
    return json.dumps(told | {"points": list(rows)}, indent=2, allow_nan=False) + "\n"


def is_points(path: Path) -> bool:
    """Whether a file looks like a table of points: scores and places, by its head."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            head = stream.read(4096)
    except OSError:
        return False
    if path.suffix.lower() == ".json":
        return f'"{FORMAT}"' in head
    columns = {word.strip() for word in head.partition("\n")[0].split(",")}
    return "score" in columns and any(f"x{unit}" in columns for unit in UNITS)


def read_points(
    path: Path,
    volumes: Sequence[BoxedVolume],
    *,
    others: Literal["refuse", "drop"] = "refuse",
) -> tuple[dict[str, Points], int]:
    """Reads points of any tool: CSV with a header, or JSON as a list of objects or ``points``.

    A point has ``file``, the volume's with or without folder and ending, ``score``, and ``x, y, z``
    in the file's own voxels from 0, or ``x_mm, y_mm, z_mm`` in RAS+ mm, or ``x_lps_mm`` and so on.

    Args:
        path: the table.
        volumes: that it is about; those that it does not name have no points.
        others: ``refuse`` points in volumes that are not among these, or ``drop`` them.

    Returns:
        Name of a volume -> its points, the highest score first; and how many were dropped.

    Raises:
        InputError: another format, a missing or wrong cell, an unknown volume, or a point that lies
            outside its volume.
    """
    known = _names_of(volumes)
    found: dict[str, list[tuple[float, ...]]] = {}
    dropped = 0
    for where, row in read_rows(path, "points"):
        told = str(cell(where, row, "file"))
        volume = known.get(told) or known.get(_plain(told))
        if volume is None:
            if others == "drop":
                dropped += 1
                continue
            example = volumes[0].name if volumes else "none"
            raise InputError(
                f"{where}: no volume {told!r} is to be searched; they are called like {example!r}. "
                "Mend the name, or leave others out by --others drop"
            )
        place = _place(where, row, volume)
        found.setdefault(volume.name, []).append((number(where, row, "score"), *place))
    if dropped and not found:
        raise InputError(f"{path}: all of its {dropped} points are in volumes that are not known")
    return {name: _sorted(rows) for name, rows in found.items()}, dropped


def _place(where: str, row: Row, volume: BoxedVolume) -> tuple[float, float, float]:
    """(d, h, w) of a row's point."""
    unit = next((unit for unit in UNITS if not blank(row, f"x{unit}")), "")
    x, y, z = (number(where, row, f"{axis}{unit}") for axis in "xyz")
    told = f"{x:g}, {y:g}, {z:g}"
    if unit == "_lps_mm":
        x, y = -x, -y
    step = volume.grid.from_mm if unit else volume.grid.from_voxel
    d, h, w = _moved(np.array([[x, y, z]]), step)[0].round(6).tolist()
    last = np.array(volume.grid.shape) - 0.5
    if (np.array([d, h, w]) < -0.5).any() or (np.array([d, h, w]) > last).any():
        raise InputError(
            f"{where}: the point {told} lies outside {volume.file.name}; x, y, z are voxels from "
            "0, x_mm RAS and x_lps_mm LPS millimetres"
        )
    return d, h, w


def _names_of(volumes: Sequence[BoxedVolume]) -> dict[str, BoxedVolume]:
    """Volumes by their names, and by the last part of them where that is one volume's alone."""
    last = [_plain(Path(volume.name).name) for volume in volumes]
    short = {
        name: volume for name, volume in zip(last, volumes, strict=True) if last.count(name) == 1
    }
    return short | {volume.name: volume for volume in volumes}


def _plain(file: str) -> str:
    name = Path(file).name
    return name.removesuffix(file_ending(name))


def _sorted(rows: list[tuple[float, ...]]) -> Points:
    table = np.array(sorted(rows, key=lambda row: -row[0]))
    return Points(table[:, 1:], table[:, 0])


def _moved(places: np.ndarray, step: Tensor) -> np.ndarray:
    """Places (K, 3) by a (4, 4) step."""
    matrix = step.numpy()
    return np.asarray(places @ matrix[:3, :3].T + matrix[:3, 3])


def _corners(box: np.ndarray) -> np.ndarray:
    return np.array(list(product(*zip(box[:3], box[3:], strict=True))))


def _named(values: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    return {name: round(float(value), 3) + 0.0 for name, value in zip(names, values, strict=True)}
