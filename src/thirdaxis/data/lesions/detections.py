"""Boxes with scores as files: thirdaxis' own JSON, and COCO's results."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thirdaxis.atomic import write_text
from thirdaxis.errors import InputError

FORMAT, VERSION = "thirdaxis-detections", 1
KEY_SLICE = re.compile(r"(.+)_(\d+)")


class Found(NamedTuple):
    """What was found on an image.

    Args:
        boxes: ``(K, 4)`` float32, x1, y1, x2, y2 in pixels from 0.
        scores: ``(K,)`` float32.
    """

    boxes: Tensor
    scores: Tensor


Detections = dict[str, Found]
"""Image -> what was found on it; an image on which nothing was found is there with none."""


def write_detections(path: str | Path, found: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Writes detections as JSON, whole or not at all; float32 values are kept exactly.

    Args:
        path: the file; its folder must exist.
        found: image -> boxes and scores.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    images = {
        name: {"boxes": [_short(box) for box in boxes], "scores": _short(scores)}
        for name, (boxes, scores) in found.items()
    }
    head = {"format": FORMAT, "version": VERSION}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in images.items())
    body = "{\n" + lines + "\n}" if images else "{}"
    write_text(path, f'{json.dumps(head)[:-1]}, "images": {body}}}\n')


def read_detections(path: str | Path, names: Mapping[int | str, str] | None = None) -> Detections:
    """Reads detections of any tool: the JSON of `write_detections`, or COCO's list of results.

    A COCO list has an entry with ``image_id``, ``bbox`` (x, y, width, height) and ``score`` for
    each box; its category is left aside, as is what else an entry holds.

    Args:
        path: the file.
        names: what the image ids of a COCO list stand for, as `coco_names` reads it; without it
            each id is the name.

    Returns:
        The detections, images in the order of the file.

    Raises:
        InputError: no such file, another form, numbers that are missing, not finite or make no
            box, as many scores as boxes are not there, or an image id without a name.
    """
    path = Path(path)
    content = _json(path)
    if isinstance(content, list):
        return _from_coco(path, content, names)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(
            f"{path}: neither detections of thirdaxis (an object with 'format': {FORMAT!r}) nor a "
            "COCO list of results"
        )
    if content.get("version") != VERSION:
        raise InputError(
            f"{path}: version {content.get('version')!r} of the format; this reads {VERSION}"
        )
    images = content.get("images")
    if not isinstance(images, dict):
        raise InputError(f"{path}: 'images' has to be an object: name -> boxes and scores")
    found = {}
    for name, one in images.items():
        where = f"{path}: image {name!r}"
        if not isinstance(one, dict) or not {"boxes", "scores"} <= one.keys():
            raise InputError(f"{where}: needs 'boxes' and 'scores'")
        found[name] = _found(where, one["boxes"], one["scores"])
    return found


def coco_names(path: str | Path) -> dict[int | str, str]:
    """What the image ids of a COCO annotation file stand for.

    Args:
        path: COCO's annotations, with `images` of `id` and `file_name` each. A file name as in
            DeepLesion's table, ``000001_01_01_109.png``, means the key slice
            ``000001_01_01/109``; of others the ending is taken off.

    Returns:
        Image id -> name.

    Raises:
        InputError: no such file, or no images with an id and a file name.
    """
    path = Path(path)
    content = _json(path)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise InputError(f"{path}: not COCO annotations, which have a list 'images'")
    names: dict[int | str, str] = {}
    for one in images:
        named = isinstance(one, dict) and {"id", "file_name"} <= one.keys()
        if not named or not isinstance(one["id"], int | str):
            raise InputError(f"{path}: an image without 'id' or 'file_name': {str(one)[:60]}")
        stem = re.sub(r"\.\w+$", "", str(one["file_name"]).replace("\\", "/"))
        whole = KEY_SLICE.fullmatch(stem)
        names[one["id"]] = f"{whole[1]}/{whole[2]}" if whole and "/" not in stem else stem
    return names


def _short(values: Tensor) -> list[float]:
    # The shortest decimals that give the float32 again.
    return [float(str(value)) for value in values.detach().float().cpu().numpy()]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as fault:
        raise InputError(f"{path}: not JSON in UTF-8 ({fault})") from None


def _found(where: str, boxes: Any, scores: Any) -> Found:
    try:
        places = torch.tensor(boxes, dtype=torch.float32)
        values = torch.tensor(scores, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{where}: boxes are lists of four numbers, scores numbers") from None
    places = places.reshape(0, 4) if places.numel() == 0 else places
    if places.ndim != 2 or places.shape[1] != 4 or values.ndim != 1:
        raise InputError(f"{where}: boxes are lists of four numbers, scores numbers")
    if len(places) != len(values):
        raise InputError(f"{where}: {len(values)} scores for {len(places)} boxes")
    if not (places.isfinite().all() and values.isfinite().all()):
        raise InputError(f"{where}: a number is not finite")
    wrong = (places[:, 2:] < places[:, :2]).any(1)
    if wrong.any():
        first = places[wrong][0].tolist()
        raise InputError(f"{where}: the box {first} is not x1, y1, x2, y2 with x1 <= x2, y1 <= y2")
    return Found(places, values)


def _from_coco(path: Path, entries: list[Any], names: Mapping[int | str, str] | None) -> Detections:
    boxes: dict[str, list[Any]] = {name: [] for name in (names or {}).values()}
    scores: dict[str, list[Any]] = {name: [] for name in boxes}
    for number, one in enumerate(entries):
        where = f"{path}: entry {number}"
        if not isinstance(one, dict) or not {"image_id", "bbox", "score"} <= one.keys():
            raise InputError(f"{where}: needs 'image_id', 'bbox' and 'score'")
        image, bbox = one["image_id"], one["bbox"]
        if not isinstance(image, int | str):
            raise InputError(f"{where}: 'image_id' is a number or a word, not {image!r}")
        if names is not None and image not in names:
            raise InputError(f"{where}: the annotations have no image of the id {image!r}")
        name = str(image) if names is None else names[image]
        try:
            x, y, width, height = (float(value) for value in bbox)
        except (TypeError, ValueError):
            raise InputError(f"{where}: 'bbox' is x, y, width, height, not {bbox!r}") from None
        boxes.setdefault(name, []).append([x, y, x + width, y + height])
        scores.setdefault(name, []).append(one["score"])
    return {name: _found(f"{path}: image {name!r}", boxes[name], scores[name]) for name in boxes}
