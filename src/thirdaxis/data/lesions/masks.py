"""Outlines of all lesions of a set, made once and kept in a file."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from thirdaxis.atomic import write_text
from thirdaxis.data.lesions.grabcut import grabcut
from thirdaxis.data.lesions.key_slice import KeySlice, LesionSet
from thirdaxis.data.lesions.pixels import WINDOW_HU, slice_pixels
from thirdaxis.data.lesions.rle import Rle, decoded, encoded
from thirdaxis.errors import InputError

__all__ = ["decoded", "masks_of"]

FORMAT = {"format": "thirdaxis-lesion-masks", "version": 1}
BATCH = 32
SECONDS_BETWEEN_WRITES = 60

Masks = dict[str, list[Rle]]


def masks_of(
    lesions: LesionSet,
    cache: str | Path | None = None,
    *,
    window: tuple[float, float] = WINDOW_HU,
    iterations: int = 3,
    workers: int = 1,
    watch: Callable[[Sequence[KeySlice]], Iterable[KeySlice]] = lambda slices: slices,
) -> Masks:
    """Outlines of the lesions of each key slice: as drawn, else by GrabCut, see `grabcut`.

    Args:
        lesions: the set.
        cache: a JSON file that is read where it is there and written when something was added, so
            that a stopped run goes on; made with another window or number of iterations, or for
            other boxes, its outlines are made anew. Its folder must exist.
        window: HU that become 0 and 255.
        iterations: of GrabCut.
        workers: threads.
        watch: wraps the key slices that lack outlines, to show progress.

    Returns:
        Name of a key slice -> one mask a lesion, in the order of its boxes.

    Raises:
        InputError: a cache that is none, or a slice that cannot be read.
        OSError: where the cache cannot be written.
    """
    path = None if cache is None else Path(cache)
    settings = {"window": list(map(float, window)), "iterations": iterations}
    kept = _read(path, settings) if path is not None and path.exists() else {}
    keys = {one.name: _key(one) for one in lesions.slices}
    known = {name: kept[name] for name, key in keys.items() if kept.get(name, {}).get("of") == key}
    missing = [one for one in lesions.slices if one.name not in known]

    def outlines(job: tuple[KeySlice, np.ndarray]) -> list[Rle]:
        one, pixels = job
        recists = [None] * len(one.boxes) if one.recists is None else one.recists.numpy()
        return [
            encoded(grabcut(pixels, box, recist, iterations))
            for box, recist in zip(one.boxes.numpy(), recists, strict=True)
        ]

    def write() -> None:
        if path is not None:
            content = {**FORMAT, "settings": settings, "slices": {**kept, **known}}
            write_text(path, json.dumps(content, separators=(",", ":")))

    todo, written = iter(watch(missing)), time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(todo, BATCH)):
            if lesions.masks is not None:
                found = [[encoded(mask) for mask in lesions.masks(one)] for one in batch]
            else:
                jobs = [(one, _pixels(lesions, one, window)) for one in batch]
                found = list(pool.map(outlines, jobs))
            for one, masks in zip(batch, found, strict=True):
                known[one.name] = {"of": keys[one.name], "masks": masks}
            if time.monotonic() - written > SECONDS_BETWEEN_WRITES:
                write()
                written = time.monotonic()
    if missing:
        write()
    return {one.name: known[one.name]["masks"] for one in lesions.slices}


def _pixels(lesions: LesionSet, one: KeySlice, window: tuple[float, float]) -> np.ndarray:
    scaled = slice_pixels(lesions.read(one, 1, None)[0], window, shift=0)
    return scaled.round().byte().numpy()


def _key(one: KeySlice) -> str:
    marks = hashlib.sha256(one.boxes.numpy().tobytes())
    if one.recists is not None:
        marks.update(one.recists.numpy().tobytes())
    return marks.hexdigest()[:16]


def _read(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as fault:
        raise InputError(f"{path}: damaged or not JSON ({fault}); remove it") from None
    told = content if isinstance(content, dict) else {}
    if {key: told.get(key) for key in FORMAT} != FORMAT:
        raise InputError(
            f"{path}: not a file of lesion masks of this version; remove it or name another"
        )
    same = told.get("settings") == settings
    return dict(told.get("slices", {})) if same else {}
