"""The readers' marks of LIDC-IDRI, from its XML files.

Armato et al., The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative
(IDRI), Medical Physics 38 (2011); McNitt-Gray et al., The LIDC data collection process for nodule
detection and annotation, Academic Radiology 14 (2007).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thirdaxis.data.images import one_line
from thirdaxis.errors import InputError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

RATINGS = {
    "subtlety": 5,
    "internalStructure": 4,
    "calcification": 6,
    "sphericity": 5,
    "margin": 5,
    "lobulation": 5,
    "spiculation": 5,
    "texture": 5,
    "malignancy": 5,
}
"""Characteristic -> highest rating; the lowest is 1."""


@dataclass(frozen=True)
class Outline:
    """One closed outline on one slice.

    Args:
        sop_uid: SOP Instance UID of the slice, '' where the file does not say.
        z: its height, LPS mm, where the file says.
        inclusion: False where the outline bounds something that is not part of the nodule.
        points: (column, row) of the outline's pixels in order, counted from 0.
    """

    sop_uid: str
    z: float | None
    inclusion: bool
    points: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Reading:
    """What one reader said of one nodule of 3 mm or more.

    Args:
        reader: number of the reading session within the file; a reader has no name across files.
        nodule: the reader's own name for the nodule, which other readers do not share.
        ratings: characteristic -> 1 to 5 (calcification to 6, internal structure to 4); without
            those that the reader left out.
        outlines: at least one of them with more than one point.
    """

    reader: int
    nodule: str
    ratings: dict[str, int]
    outlines: tuple[Outline, ...]


@dataclass(frozen=True)
class Reads:
    """All that the readers of one CT series marked.

    Args:
        series: Series Instance UID.
        readings: nodules of 3 mm or more.
        small: how many marks of nodules below 3 mm, which have neither outline nor ratings.
        non_nodules: how many marks of what is no nodule.
    """

    series: str
    readings: tuple[Reading, ...]
    small: int
    non_nodules: int


def read_lidc_xml(path: Path) -> Reads | None:
    """Reads an XML file of LIDC-IDRI.

    Entities and document types, which no file of the collection has, are refused unread.

    Args:
        path: the file.

    Returns:
        The readers' marks; None for a file about something else, such as the chest radiographs'.

    Raises:
        InputError: a damaged file, or one that is not in the collection's form.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, parse

    try:
        root = parse(path, forbid_dtd=True).getroot()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as fault:
        reason = one_line(fault) if isinstance(fault, ParseError) else type(fault).__name__
        raise InputError(f"{path}: damaged or unsafe XML ({reason})") from fault
    if root.tag.rpartition("}")[2] != "LidcReadMessage":
        return None
    series = root.findtext("{*}ResponseHeader/{*}SeriesInstanceUid", "").strip()
    if not series:
        raise InputError(f"{path}: no ResponseHeader/SeriesInstanceUid; which series is it about?")
    readings, small, non_nodules = [], 0, 0
    for reader, session in enumerate(root.findall("{*}readingSession")):
        non_nodules += len(session.findall("{*}nonNodule"))
        for nodule in session.findall("{*}unblindedReadNodule"):
            reading = _reading(path, reader, nodule)
            if reading.ratings and any(len(o.points) > 1 for o in reading.outlines):
                readings.append(reading)
            else:
                small += 1
    return Reads(series, tuple(readings), small, non_nodules)


def _reading(path: Path, reader: int, nodule: "Element") -> Reading:
    name = nodule.findtext("{*}noduleID", "").strip()
    where = f"{path}: nodule {name!r} of reading session {reader + 1}"
    ratings = {}
    for key, highest in RATINGS.items():
        text = nodule.findtext(f"{{*}}characteristics/{{*}}{key}", "").strip()
        if text:
            value = _whole(text, f"{where}: {key}")
            if 1 <= value <= highest:  # 0 stands for a rating that was not given
                ratings[key] = value
    outlines = tuple(_outline(where, roi) for roi in nodule.findall("{*}roi"))
    return Reading(reader, name, ratings, outlines)


def _outline(where: str, roi: "Element") -> Outline:
    inclusion = roi.findtext("{*}inclusion", "TRUE").strip().upper()
    if inclusion not in ("TRUE", "FALSE"):
        raise InputError(f"{where}: inclusion is TRUE or FALSE, not {inclusion!r}")
    points = tuple(
        (
            _whole(edge.findtext("{*}xCoord", ""), f"{where}: xCoord"),
            _whole(edge.findtext("{*}yCoord", ""), f"{where}: yCoord"),
        )
        for edge in roi.findall("{*}edgeMap")
    )
    if not points:
        raise InputError(f"{where}: an outline without points")
    height = roi.findtext("{*}imageZposition", "").strip()
    try:
        z = float(height) if height else None
    except ValueError:
        raise InputError(f"{where}: imageZposition is a number, not {height!r}") from None
    return Outline(roi.findtext("{*}imageSOP_UID", "").strip(), z, inclusion == "TRUE", points)


def _whole(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{what} is a whole number, not {text!r}") from None
