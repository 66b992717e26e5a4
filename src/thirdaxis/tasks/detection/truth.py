"""What detections are scored against: key slices of a data set, of a run, or of a table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thirdaxis.data.lesions.boxes import read_lesion_boxes
from thirdaxis.data.lesions.deeplesion import IMAGES, TABLE, key_slices, read_deeplesion
from thirdaxis.data.lesions.deeplesion_table import SPLITS, read_lesion_table, row_faults
from thirdaxis.data.lesions.key_slice import KeySlice, LesionSet, SliceReader
from thirdaxis.data.phantoms.sets import phantom_note
from thirdaxis.errors import InputError, UsageError, did_you_mean
from thirdaxis.tasks.detection.cases import named, read_lesions
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.run_folder import SETTINGS, read_run

PARTS = (*SPLITS.values(), "all")


@dataclass(frozen=True)
class Truth:
    """Key slices with the lesions on them.

    Args:
        slices: all that count, with lesions or without.
        read: gives their pixels; none where there are no images.
        origin: where they are from.
        left_out: what could not be used, a line each.
        note: what has to be said wherever the images are shown; see `phantom_note`.
    """

    slices: tuple[KeySlice, ...]
    read: SliceReader | None
    origin: str
    left_out: tuple[str, ...] = ()
    note: str = ""


def find_truth(
    path: Path, part: str = "test", images: Path | None = None, boxes: Path | None = None
) -> Truth:
    """Reads what detections are scored against.

    Args:
        path: a run folder (its test slices), a folder of DeepLesion or its `DL_info.csv` alone, a
            CSV or JSON file of boxes, or a folder of scans with `boxes`.
        part: of DeepLesion: ``train``, ``val``, ``test`` or ``all``.
        images: folder of the scans that a file of boxes is about; none takes the file's own.
        boxes: CSV or JSON file, or folder of label maps, of a folder of scans.

    Returns:
        The key slices.

    Raises:
        InputError: nothing that can be read so, or no lesion in it.
        UsageError: an unknown part.
    """
    if part not in PARTS:
        raise UsageError(f"no part {part!r}{did_you_mean(part, PARTS)}")
    found = _read(path, part, images, boxes)
    if not any(len(one.boxes) for one in found.slices):
        raise InputError(
            f"{path}: none of its {len(found.slices)} slices has a lesion to score against"
        )
    return found


def _read(path: Path, part: str, images: Path | None, boxes: Path | None) -> Truth:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if (path / SETTINGS).is_file():
        return _of_run(path)
    if boxes is not None:
        return _of_set(read_lesion_boxes(path, boxes))
    split = None if part == "all" else part
    if (path / TABLE).is_file():
        return _of_folder(path, split, TABLE)
    if path.is_dir():
        raise InputError(
            f"{path}: neither a run folder nor one of DeepLesion with its {TABLE}; for a folder of "
            "scans name their boxes or label maps by --boxes"
        )
    if _is_table(path):
        if any(path.parent.glob(f"{IMAGES}*")):
            return _of_folder(path.parent, split, path.name)
        return _of_table(path, split)
    return _of_set(read_lesion_boxes(path.parent if images is None else images, path))


def _of_set(found: LesionSet) -> Truth:
    return Truth(found.slices, found.read, found.origin)


def _of_folder(folder: Path, split: str | None, table: str) -> Truth:
    left_out: list[str] = []
    found = read_deeplesion(folder, split, table=table, faults=left_out)
    note = phantom_note(folder) or ""
    return Truth(found.slices, found.read, found.origin, tuple(left_out), note)


def _of_run(folder: Path) -> Truth:
    run = read_run(folder)
    if not isinstance(run.settings, DetectSettings):
        raise InputError(f"{folder}: a run of the task {run.settings.task!r}, not 'detect'")
    left_out: list[str] = []
    lesions = read_lesions(run.settings, left_out.append)
    slices = named(lesions, run.test)
    note = phantom_note(run.settings.data) or ""
    return Truth(slices, lesions.read, f"{folder} (test slices)", tuple(left_out), note)


def _is_table(path: Path) -> bool:
    if path.suffix.lower() != ".csv":
        return False
    with path.open(encoding="utf-8", errors="replace") as stream:
        return "Bounding_boxes" in stream.readline()


def _of_table(path: Path, split: str | None) -> Truth:
    """The table of DeepLesion without its images."""
    rows = read_lesion_table(path)
    rows = rows.rows(~rows.noisy)
    wrong: dict[int, str] = {}
    for row, what in row_faults(rows):
        wrong.setdefault(row, f"{path}, line {rows.lines[row]}: {what}")
    keep = np.ones(len(rows.lines), bool)
    keep[list(wrong)] = False
    if split is not None:
        number = next(key for key, name in SPLITS.items() if name == split)
        keep &= rows.splits == number
    slices = tuple(key_slices(rows.rows(keep)))
    return Truth(slices, None, str(path), tuple(wrong.values()))
