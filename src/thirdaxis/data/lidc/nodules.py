"""From the readers' outlines to nodules: which marks mean the same one, and where it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean, median_low, multimode

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import KDTree
from scipy.spatial.distance import pdist

from thirdaxis.data.lidc.xml import RATINGS, Outline, Reading

RULES: dict[str, Callable[[Sequence[int]], int]] = {
    "mode": lambda values: min(multimode(values)),
    "median": median_low,
}
"""How one rating is made of the readers': the most frequent, or the middle; of two the lower."""


@dataclass(frozen=True, eq=False)
class Nodule:
    """A nodule as its readers see it together.

    Args:
        readings: one to four, of different readers.
        corner: voxel (d, h, w) of the mask's first voxel in the scan.
        mask: (d, h, w) bool, where at least half of the readers see the nodule; perhaps nowhere.
        ratings: characteristic -> the readers' rating by the rule asked for.
        malignancy_mean: the mean of the readers' malignancies, nan without any.
        diameter_mm: the mean over readers of the greatest extent in one slice.
        volume_mm3: of the mask.
    """

    readings: tuple[Reading, ...]
    corner: tuple[int, int, int]
    mask: np.ndarray
    ratings: dict[str, int]
    malignancy_mean: float
    diameter_mm: float
    volume_mm3: float


def inside(points: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], np.ndarray]:
    """The pixels that an outline bounds, without the outline itself.

    The readers of LIDC-IDRI drew through the first pixels outside the nodule, so the outline's own
    pixels are left out. A gap between points that follow each other is closed by a straight line.

    Args:
        points: (column, row) of the outline's pixels in order.

    Returns:
        The (row, column) of the picture's first pixel, and the picture, (h, w) bool.
    """
    xy = np.asarray(points)
    left, top = xy.min(axis=0)
    width, height = xy.max(axis=0) - (left, top) + 1
    picture = Image.new("1", (int(width), int(height)))
    if len(points) > 2:
        ring = [(int(x), int(y)) for x, y in xy - (left, top)]
        ImageDraw.Draw(picture).polygon(ring, fill=1, outline=0)
    return (int(top), int(left)), np.array(picture, dtype=bool)


def reading_mask(
    reading: Reading, slice_of: Callable[[Outline], int]
) -> tuple[tuple[int, int, int], np.ndarray]:
    """The voxels of one reading: inside its outlines, less the inside of its exclusions.

    Args:
        reading: one reader's outlines.
        slice_of: the index of an outline's slice in the scan.

    Returns:
        The (d, h, w) of the box's first voxel in the scan, and the box, (d, h, w) bool.
    """
    depths = [slice_of(outline) for outline in reading.outlines]
    xy = np.concatenate([outline.points for outline in reading.outlines])
    (left, top), (right, bottom) = xy.min(axis=0), xy.max(axis=0)
    corner = (min(depths), int(top), int(left))
    box = np.zeros((max(depths) - corner[0] + 1, bottom - top + 1, right - left + 1), bool)
    # Exclusions last: they take away from what the inclusions of their slice add up to.
    for depth, outline in sorted(
        zip(depths, reading.outlines, strict=True), key=lambda pair: not pair[1].inclusion
    ):
        (row, column), picture = inside(outline.points)
        rows = slice(row - top, row - top + picture.shape[0])
        columns = slice(column - left, column - left + picture.shape[1])
        part = box[depth - corner[0], rows, columns]
        part[picture] = outline.inclusion
    return corner, box


def group(
    places: Sequence[np.ndarray], readers: Sequence[int], tolerance: float
) -> list[list[int]]:
    """Finds which readings mean the same nodule.

    Readings belong together when their outlines are no farther apart than the tolerance, or when a
    chain of such readings joins them. No nodule has two readings of one reader: links are
    made from the nearest pair on, and a link that would join two of one reader is not made. So
    without such a conflict the groups are those of pylidc's `cluster_annotations` (Hancock and
    Magnan, Journal of Medical Imaging 3(4), 2016); with one, pylidc shrinks the tolerance of the
    whole scan until no group has more than four.

    Args:
        places: the outline points of each reading, (n, 3) mm.
        readers: the reader of each.
        tolerance: mm, the slice thickness by custom.

    Returns:
        Groups of indices, each sorted, ordered by their first index.
    """
    trees = [KDTree(points) for points in places]
    links = []
    for a, b in combinations(range(len(places)), 2):
        gap = float(trees[a].query(places[b])[0].min())
        if gap <= tolerance + 1e-6:
            links.append((gap, a, b))
    home = {index: [index] for index in range(len(places))}
    for _, a, b in sorted(links):
        one, other = home[a], home[b]
        if one is other or {readers[i] for i in one} & {readers[i] for i in other}:
            continue
        one.extend(other)
        home.update(dict.fromkeys(other, one))
    return sorted({id(found): sorted(found) for found in home.values()}.values())


def find_nodules(
    readings: Sequence[Reading],
    slice_of: Callable[[Outline], int],
    affine: np.ndarray,
    tolerance: float,
    rule: str = "mode",
) -> list[Nodule]:
    """Joins the readings of a scan to nodules.

    Args:
        readings: all readers' nodules of 3 mm or more.
        slice_of: the index of an outline's slice in the scan.
        affine: (4, 4), voxel (d, h, w, 1) of the scan to mm.
        tolerance: mm, see `group`.
        rule: a name of `RULES`.

    Returns:
        The nodules, ordered by the place of their box's centre (d, h, w).
    """
    places = [_places(reading, slice_of, affine) for reading in readings]
    found = []
    for indices in group(places, [reading.reader for reading in readings], tolerance):
        members = tuple(readings[index] for index in indices)
        found.append(_nodule(members, slice_of, affine, rule))
    return sorted(found, key=lambda one: (2 * np.array(one.corner) + one.mask.shape).tolist())


def _nodule(
    readings: tuple[Reading, ...],
    slice_of: Callable[[Outline], int],
    affine: np.ndarray,
    rule: str,
) -> Nodule:
    corners, boxes = zip(*(reading_mask(one, slice_of) for one in readings), strict=True)
    low = np.min(corners, axis=0)
    high = np.max([np.add(c, box.shape) for c, box in zip(corners, boxes, strict=True)], axis=0)
    votes = np.zeros(high - low, np.int64)
    for corner, box in zip(corners, boxes, strict=True):
        start = corner - low
        place = tuple(slice(a, a + n) for a, n in zip(start, box.shape, strict=True))
        votes[place] += box
    mask = 2 * votes >= len(readings)
    given = {key: [r.ratings[key] for r in readings if key in r.ratings] for key in RATINGS}
    d, h, w = low.tolist()
    return Nodule(
        readings,
        (d, h, w),
        mask,
        {key: RULES[rule](values) for key, values in given.items() if values},
        mean(given["malignancy"]) if given["malignancy"] else float("nan"),
        mean(_diameter(one, affine) for one in readings),
        float(mask.sum() * abs(np.linalg.det(affine[:3, :3]))),
    )


def _places(reading: Reading, slice_of: Callable[[Outline], int], affine: np.ndarray) -> np.ndarray:
    voxels = np.array(
        [(slice_of(o), row, column) for o in reading.outlines for column, row in o.points]
    )
    return voxels @ affine[:3, :3].T + affine[:3, 3]


def _diameter(reading: Reading, affine: np.ndarray) -> float:
    """The greatest distance within an outline, mm, less the pixel by which it lies outside."""
    plane = affine[:3, [2, 1]]  # (column, row) to mm
    pixel = float(np.linalg.norm(plane, axis=0).mean())
    widths = [
        float(pdist(np.asarray(o.points) @ plane.T).max())
        for o in reading.outlines
        if o.inclusion and len(o.points) > 1
    ]
    return max(max(widths, default=0.0) - pixel, 0.0)
