"""Photographs with boxes in COCO's form: which pictures there are, and what is marked on them."""

import json
import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from thirdaxis.errors import InputError

LIMIT = 0.01
SMALLEST = 1.0
TABLES = ("images", "annotations", "categories")
Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class MarkedPicture:
    """A picture and the boxes on it.

    Args:
        name: its file, from the folder of pictures on.
        size: height and width in pixels.
        boxes: ``(L, 4)`` float32, x1, y1, x2, y2: sides in pixels, from 0 to the width or height.
        labels: ``(L,)`` int64, the category of each, 1 to n in the order of their ids.
        crowds: ``(L,)`` bool: the box holds many things of its kind, which are not told apart.
    """

    name: str
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    crowds: np.ndarray

    def single(self) -> "MarkedPicture":
        """The same without boxes around crowds, which are not to be learnt."""
        one = ~self.crowds
        told = {"boxes": self.boxes[one], "labels": self.labels[one], "crowds": self.crowds[one]}
        return replace(self, **told)


@dataclass(frozen=True, eq=False)
class CocoSet:
    """Pictures with boxes.

    Args:
        pictures: in the order of the file.
        categories: id in the file and name, by id; the first has label 1.
        folder: of the pictures.
        origin: what to call the set in errors.
        faults: a line for each picture and box that was left out.
        clipped: boxes that reached over the edge of their picture, and were cut there.
    """

    pictures: tuple[MarkedPicture, ...]
    categories: tuple[tuple[int, str], ...]
    folder: Path
    origin: str
    faults: tuple[str, ...] = ()
    clipped: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the categories, that of label 1 first."""
        return tuple(name for _, name in self.categories)


def read_coco(annotations: str | Path, folder: str | Path, *, limit: float = LIMIT) -> CocoSet:
    """Reads boxes in the form of COCO's ``instances_train2017.json``; pictures are not opened.

    ``images`` have ``id``, ``file_name``, ``width`` and ``height``; ``annotations`` have
    ``image_id``, ``category_id``, ``bbox`` (x, y, width, height) and maybe ``iscrowd``;
    ``categories`` have any ``id`` and a ``name``. All else, such as outlines, is passed over.

    A box that reaches over the edge of its picture is cut there. Left out, with a line of
    `CocoSet.faults` each, are pictures whose file is missing, and boxes that are no four finite
    numbers, lie outside their picture, are thinner than a pixel, or name a picture or a category
    that there is not. Where they are more than the limit, the file is refused.

    Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

    Args:
        annotations: the JSON file.
        folder: of the pictures.
        limit: share of the pictures, and of the boxes, that may be left out.

    Raises:
        InputError: no such file or folder, not JSON of that form, a picture or a category twice, a
            picture outside the folder, no picture, or too much left out.
    """
    annotations, folder = Path(annotations), Path(folder)
    tables = _tables(annotations)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of pictures, which {annotations} asks for")
    categories = _categories(tables["categories"], annotations)
    labels = {number: label for label, (number, _) in enumerate(categories, 1)}
    images = _images(tables["images"], annotations)
    missing = _missing([name for name, _ in images.values()], folder)
    absent = [f"{folder / name}: no such picture, which {annotations} names" for name in missing]
    _check(absent, len(images), limit, f"{annotations}: pictures of {folder}")
    marks: dict[int, list[tuple[np.ndarray, int, bool]]] = {number: [] for number in images}
    faulty, clipped = [], 0
    for place, told in enumerate(tables["annotations"]):
        where = f"{annotations}: annotations[{place}]"
        try:
            number, box, cut = _box(told, where, images)
            label = labels[_known(told, "category", labels, where)]
        except InputError as fault:
            faulty.append(str(fault))
            continue
        clipped += cut
        marks[number].append((box, label, bool(told.get("iscrowd", 0))))
    _check(faulty, len(tables["annotations"]), limit, f"{annotations}: boxes")
    gone = set(missing)
    pictures = tuple(
        _marked(name, size, marks[number])
        for number, (name, size) in images.items()
        if name not in gone
    )
    return CocoSet(pictures, categories, folder, str(annotations), (*absent, *faulty), clipped)


def check_categories(one: CocoSet, other: CocoSet) -> None:
    """Refuses two sets whose labels mean different things.

    Raises:
        InputError: their categories differ in an id or a name.
    """
    for ours, theirs in zip(one.categories, other.categories, strict=False):
        if ours != theirs:
            raise InputError(
                f"{other.origin}: has the category {theirs[0]} {theirs[1]!r} where {one.origin} "
                f"has {ours[0]} {ours[1]!r}; both need the same categories"
            )
    counts = len(one.categories), len(other.categories)
    if counts[0] != counts[1]:
        raise InputError(
            f"{other.origin}: has {counts[1]} categories, {one.origin} has {counts[0]}; both need "
            "the same ones"
        )


def _tables(path: Path) -> dict[str, list[Any]]:
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of annotations") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not readable as JSON ({reason})") from None
    lists: dict[str, Any] = (
        {name: told.get(name) for name in TABLES} if isinstance(told, dict) else {}
    )
    wrong = [name for name in TABLES if not isinstance(lists.get(name), list)]
    if wrong:
        raise InputError(
            f"{path}: has no list {wrong[0]!r}; expected COCO's instances: {', '.join(TABLES)}"
        )
    for name in TABLES:
        for place, row in enumerate(lists[name]):
            if not isinstance(row, dict):
                raise InputError(f"{path}: {name}[{place}] is no table, got {row!r:.60}")
    return lists


def _categories(rows: Sequence[Row], path: Path) -> tuple[tuple[int, str], ...]:
    found: dict[int, str] = {}
    for place, row in enumerate(rows):
        where = f"{path}: categories[{place}]"
        number = _whole(row, "id", where)
        if number in found:
            raise InputError(f"{where}: a second category has the id {number}")
        found[number] = str(row.get("name", number))
    if not found:
        raise InputError(f"{path}: has no categories")
    return tuple(sorted(found.items()))


def _images(rows: Sequence[Row], path: Path) -> dict[int, tuple[str, tuple[int, int]]]:
    found: dict[int, tuple[str, tuple[int, int]]] = {}
    names: set[str] = set()
    for place, row in enumerate(rows):
        where = f"{path}: images[{place}]"
        number = _whole(row, "id", where)
        name = row.get("file_name")
        if not isinstance(name, str) or not name:
            raise InputError(f"{where}: has no file_name")
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts or "\\" in name or ":" in name:
            raise InputError(f"{where}: file_name {name!r} leaves the folder of pictures")
        size = _whole(row, "height", where), _whole(row, "width", where)
        if min(size) < 1:
            raise InputError(f"{where}: is {size[1]} x {size[0]} pixels large")
        if number in found or name in names:
            what = f"id {number}" if number in found else f"file_name {name!r}"
            raise InputError(f"{where}: a second picture has the {what}")
        found[number] = name, size
        names.add(name)
    if not found:
        raise InputError(f"{path}: has no pictures")
    return found


def _missing(names: Sequence[str], folder: Path) -> list[str]:
    """Files that are not there; the folder itself is listed once, as it may hold very many."""
    there = {entry.name for entry in os.scandir(folder)}
    return [
        name
        for name in names
        if not (name in there if "/" not in name else (folder / name).is_file())
    ]


def _box(
    told: Row, where: str, images: Mapping[int, tuple[str, tuple[int, int]]]
) -> tuple[int, np.ndarray, bool]:
    """The picture's id, the box cut at its edge, and whether anything was cut off."""
    number = _known(told, "image", images, where)
    name, (height, width) = images[number]
    try:
        x, y, w, h = (float(value) for value in told["bbox"])
        if not np.isfinite([x, y, w, h]).all():
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{where}: bbox is {told.get('bbox')!r:.80}, expected x, y, width, height"
        ) from None
    raw = np.array([x, y, x + w, y + h])
    box = raw.clip(0, [width, height, width, height])
    if min(w, h) < SMALLEST:
        raise InputError(f"{where}: the box is {w:g} x {h:g} pixels large, on {name!r}")
    if (box[2:] - box[:2]).min() < SMALLEST:
        raise InputError(
            f"{where}: the box {x:g}, {y:g}, {w:g}, {h:g} (x, y, width, height) lies outside "
            f"{name!r} of {width} x {height} pixels"
        )
    return number, box.astype(np.float32), bool((np.abs(box - raw) > 0.01).any())


def _known(told: Row, what: str, known: Container[int], where: str) -> int:
    number = told.get(f"{what}_id")
    if not isinstance(number, int) or number not in known:
        raise InputError(f"{where}: no {what} has the id {number!r:.60}")
    return number


def _marked(
    name: str, size: tuple[int, int], marks: Sequence[tuple[np.ndarray, int, bool]]
) -> MarkedPicture:
    return MarkedPicture(
        name,
        size,
        np.array([box for box, _, _ in marks], np.float32).reshape(-1, 4),
        np.array([label for _, label, _ in marks], np.int64),
        np.array([crowd for _, _, crowd in marks], bool),
    )


def _check(faults: Sequence[str], count: int, limit: float, what: str) -> None:
    if len(faults) > limit * count:
        raise InputError(
            f"{what}: {len(faults)} of {count} cannot be used, and {limit:.3g} of them may be left "
            f"out; the first: {faults[0]}"
        )


def _whole(row: Row, name: str, where: str) -> int:
    value = row.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{where}: {name} is {value!r:.60}, expected a whole number")
    return value
