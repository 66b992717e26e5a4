"""What a lesion measures: extent in voxels and millimetres, place in the patient, diameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from thirdaxis.data.volume import Volume
from thirdaxis.tasks.detection.link import Linking, link

Range = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes found on the slices of one scan, turned to inferior-superior, front-back, right-left.

    Args:
        slices: ``(K,)``, the slice of each from 0, upwards in the body.
        boxes: ``(K, 4)`` x1, y1, x2, y2 in the slice's own pixels, both ends inside.
        scores: ``(K,)``, 0 to 1.
        diameters: ``(K, 2)`` mm, long and short, of the masks; none where there are no masks.
    """

    slices: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    diameters: np.ndarray | None = None


@dataclass(frozen=True)
class Lesion:
    """A lesion found in a scan.

    Args:
        score: of its best box.
        slices: how many of its slices have a box.
        key_slice: the slice of its best box, of the turned scan.
        key_box: the best box, x1, y1, x2, y2 in pixels of that slice.
        turned: first and last voxel along (d, h, w) of the turned scan.
        voxels: first and last voxel along the file's own axes (i, j, k), from 0.
        size_mm: along right-left, front-back, inferior-superior of the turned scan.
        centre_ras_mm: of the extent, millimetres to the right, front and top (NIfTI).
        long_mm: the longest diameter in any of its slices.
        short_mm: across it, in the same slice.
        measured_on: the slice of the diameters, of the turned scan.
        measured_from: ``mask``, or ``box``: then the sides of the box.
    """

    score: float
    slices: int
    key_slice: int
    key_box: tuple[float, ...]
    turned: tuple[Range, Range, Range]
    voxels: tuple[Range, Range, Range]
    size_mm: tuple[float, float, float]
    centre_ras_mm: tuple[float, float, float]
    long_mm: float
    short_mm: float
    measured_on: int
    measured_from: str

    @property
    def centre_lps_mm(self) -> tuple[float, float, float]:
        """The same place in millimetres to the left, back and top (DICOM, ITK)."""
        right, front, top = self.centre_ras_mm
        return 0.0 - right, 0.0 - front, top

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it, rounded to what it means."""
        return {
            "score": round(self.score, 6),
            "slices": self.slices,
            "voxels": dict(zip("ijk", map(list, self.voxels), strict=True)),
            "size_mm": _rounded(self.size_mm),
            "centre_ras_mm": _rounded(self.centre_ras_mm),
            "centre_lps_mm": _rounded(self.centre_lps_mm),
            "long_diameter_mm": round(self.long_mm, 2),
            "short_diameter_mm": round(self.short_mm, 2),
            "diameters_from": self.measured_from,
            "diameters_on_slice": self.measured_on,
            "key_slice": self.key_slice,
            "key_box": _rounded(self.key_box),
        }


def lesions_of(
    found: Boxes, scan: Volume, turned: Volume, how: Linking, margin: float = 0.0
) -> list[Lesion]:
    """Joins the boxes of a scan and measures what comes of it.

    Args:
        found: boxes on the slices of the turned scan.
        scan: on its own grid.
        turned: the same, turned to `thirdaxis.data.grid.CANONICAL`.
        how: boxes become lesions.
        margin: pixels that the boxes of the training data leave around a lesion on each side; taken
            off before a box is measured.

    Returns:
        The highest score first.
    """
    groups = link(found.slices, found.boxes, found.scores, turned.spacing[0], how)
    return [_measured(found, group, scan, turned, margin) for group in groups]


def mask_diameters(mask: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
    """The longest line inside a mask's hull, and how wide the mask is across it.

    After RECIST, which measures the longest diameter in the slice and, for lymph nodes, the longest
    perpendicular to it (Eisenhauer et al., "New response evaluation criteria in solid tumours",
    European Journal of Cancer 45, 2009).

    Args:
        mask: ``(H, W)``, inside where not zero.
        spacing: mm from row to row and from column to column.

    Returns:
        Long and short diameter in mm, from edge to edge of the pixels; 0 and 0 of an empty mask.
    """
    inside = np.asarray(mask) != 0
    rows = np.flatnonzero(inside.any(1))
    if len(rows) == 0:
        return 0.0, 0.0
    # The first and the last pixel of each row span the hull.
    first = inside[rows].argmax(1)
    last = inside.shape[1] - 1 - inside[rows, ::-1].argmax(1)
    edges = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)])
    centres = np.stack([np.tile(rows, 2), np.concatenate([first, last])], 1)
    points = (centres[:, None] + edges).reshape(-1, 2) * np.asarray(spacing)
    hull = points[ConvexHull(points).vertices]
    apart = pdist(hull)
    starts, stops = np.triu_indices(len(hull), 1)
    farthest = int(apart.argmax())
    along = (hull[stops[farthest]] - hull[starts[farthest]]) / apart[farthest]
    across = hull @ np.array([-along[1], along[0]])
    return float(apart[farthest]), float(across.max() - across.min())


def box_diameters(boxes: np.ndarray, spacing: Sequence[float], margin: float) -> np.ndarray:
    """The longer and the shorter side of boxes ``(K, 4)``, less their margins, ``(K, 2)`` in mm."""
    widths = (boxes[:, 2:] - boxes[:, :2] + 1 - 2 * margin).clip(min=1)
    return -np.sort(-widths * [spacing[1], spacing[0]], axis=1)


def _measured(
    found: Boxes, group: np.ndarray, scan: Volume, turned: Volume, margin: float
) -> Lesion:
    boxes, slices = found.boxes[group], found.slices[group]
    best = int(found.scores[group].argmax())
    if found.diameters is None:
        diameters, source = box_diameters(boxes, turned.spacing[1:], margin), "box"
    else:
        diameters, source = found.diameters[group], "mask"
    longest = int(diameters[:, 0].argmax())
    low = np.array([slices.min(), boxes[:, 1].min(), boxes[:, 0].min()], float)
    high = np.array([slices.max(), boxes[:, 3].max(), boxes[:, 2].max()], float)
    ends = np.clip(np.rint([low, high]), 0, np.array(turned.shape) - 1).astype(int)
    sizes = (high - low + 1) * turned.spacing
    centre = turned.affine.numpy() @ [*((low + high) / 2), 1.0]
    return Lesion(
        float(found.scores[group][best]),
        len(group),
        int(slices[best]),
        tuple(map(float, boxes[best])),
        _ranges(ends),
        _ranges(_in_file(ends, scan, turned)),
        (float(sizes[2]), float(sizes[1]), float(sizes[0])),
        (float(centre[0]), float(centre[1]), float(centre[2])),
        float(diameters[longest, 0]),
        float(diameters[longest, 1]),
        int(slices[longest]),
        source,
    )


def _in_file(ends: np.ndarray, scan: Volume, turned: Volume) -> np.ndarray:
    """First and last voxels ``(2, 3)`` along the file's (i, j, k), which run as its (w, h, d)."""
    corners = np.array([[*corner, 1] for corner in product(*ends.T)], float)
    step = np.linalg.solve(scan.affine.numpy(), turned.affine.numpy())
    places = np.rint(corners @ step.T)[:, 2::-1].astype(int)
    return np.stack([places.min(0), places.max(0)])


def _ranges(ends: np.ndarray) -> tuple[Range, Range, Range]:
    first, second, third = ((int(low), int(high)) for low, high in ends.T)
    return first, second, third


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 2) for value in values]
