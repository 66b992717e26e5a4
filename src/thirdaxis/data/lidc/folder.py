"""What a folder of LIDC-IDRI holds: CT series, and the XML files about them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thirdaxis.data.dicom.slices import MODALITY, PATIENT, SERIES_UID, header
from thirdaxis.data.lidc.xml import Outline, Reads, read_lidc_xml
from thirdaxis.errors import InputError

Marks = tuple[Path, Reads] | InputError
"""The XML file about a series and what the readers marked, or why it cannot be known."""


@dataclass(frozen=True)
class Series:
    """A CT series: the folder that holds its files, its UID and its patient."""

    folder: Path
    uid: str
    patient: str


def find_ct_series(folder: Path, faults: list[str]) -> list[Series]:
    """Finds the CT series of a folder at any depth, judging each folder by its first DICOM file.

    Args:
        folder: holds them.
        faults: gets a line for each folder of DICOM files of which none can be read.

    Returns:
        The series, sorted by patient and folder; other modalities are passed over.
    """
    found = []
    for place in sorted([folder, *(path for path in folder.rglob("*") if path.is_dir())]):
        try:
            tags = _first_header(place)
        except InputError as fault:
            faults.append(str(fault))
            continue
        if tags.get(MODALITY, "").strip() == "CT":
            uid = tags.get(SERIES_UID, "").strip("\0 ")
            found.append(Series(place, uid, tags.get(PATIENT, "").strip() or place.name))
    return sorted(found, key=lambda series: (series.patient, series.folder))


def find_marks(folder: Path, faults: list[str]) -> dict[str, Marks]:
    """Reads all XML files of a folder at any depth.

    Args:
        folder: holds them.
        faults: gets a line for each file that cannot be read.

    Returns:
        Series Instance UID -> the file and its marks, or the fault of two files that disagree.
    """
    marks: dict[str, Marks] = {}
    for path in sorted(folder.rglob("*.xml")):
        try:
            reads = read_lidc_xml(path)
        except InputError as fault:
            faults.append(str(fault))
            continue
        if reads is None:
            continue
        before = marks.setdefault(reads.series, (path, reads))
        if not isinstance(before, InputError) and before[1] != reads:
            marks[reads.series] = InputError(
                f"{path}: says other than {before[0]} about the series {reads.series}; keep one"
            )
    return marks


def slice_finder(
    path: Path, uids: Sequence[str], scan: np.ndarray, affine: np.ndarray
) -> Callable[[Outline], int]:
    """Finds an outline's slice by its UID, or by its height where the file names none.

    Args:
        path: the XML file, to be named in an error.
        uids: SOP Instance UID of each slice.
        scan: (D, H, W).
        affine: (4, 4), its voxels to mm.

    Returns:
        What gives the index of an outline's slice; it raises `InputError` where the outline lies
        outside the scan.
    """
    index = {uid: d for d, uid in enumerate(uids)}
    heights = affine[2, 3] + affine[2, 0] * np.arange(len(uids))
    _, rows, columns = scan.shape

    def slice_of(outline: Outline) -> int:
        xy = np.asarray(outline.points)
        if xy.min() < 0 or (xy.max(axis=0) >= (columns, rows)).any():
            raise InputError(
                f"{path}: an outline leaves the {rows} x {columns} pixels of its slice"
            )
        if outline.sop_uid in index:
            return index[outline.sop_uid]
        gaps = np.abs(heights - (np.inf if outline.z is None else outline.z))
        if outline.sop_uid or not gaps.min() < 0.1 * abs(affine[2, 0]):
            wanted = outline.sop_uid or f"at {outline.z} mm"
            raise InputError(f"{path}: has an outline on the slice {wanted}, not in the series")
        return int(gaps.argmin())

    return slice_of


def _first_header(folder: Path) -> dict[str, str]:
    unread = None
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                continue
        try:
            return header(str(path))
        except InputError as fault:
            unread = unread or fault
    if unread is not None:
        raise unread
    return {}
