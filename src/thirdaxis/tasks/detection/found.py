"""Boxes found by any tool, read and checked against the images they are about."""

from pathlib import Path

import numpy as np

from thirdaxis.data.lesions.detections import Detections, coco_names, read_detections
from thirdaxis.data.lesions.key_slice import KeySlice
from thirdaxis.errors import InputError, UsageError, did_you_mean
from thirdaxis.tasks.detection.truth import Truth

OTHERS = ("refuse", "drop")


def read_found(
    path: Path, truth: Truth, annotations: Path | None = None, others: str = "refuse"
) -> tuple[Detections, int, int]:
    """Reads detections and checks them against what they are about.

    Args:
        path: JSON as `read_detections` takes it.
        truth: the images.
        annotations: COCO's, which name the image ids of a COCO list.
        others: ``refuse`` detections on images that the truth does not name, or ``drop`` them.

    Returns:
        Detections on images of the truth; how many of these are not mentioned; how many images
        were dropped.

    Raises:
        InputError: unknown images, a score outside 0 to 1, or a box outside its image.
        UsageError: another word for what becomes of others.
    """
    if others not in OTHERS:
        raise UsageError(f"others: no {others!r}{did_you_mean(others, OTHERS)}")
    names = None if annotations is None else coco_names(annotations)
    found = read_detections(path, names)
    known = {one.name: one for one in truth.slices}
    strange = [name for name in found if name not in known]
    if strange and (others == "refuse" or len(strange) == len(found)):
        example = next(iter(known))
        raise InputError(
            f"{path}: {len(strange)} of its {len(found)} images are not in {truth.origin}, the "
            f"first is {strange[0]!r}; images are called like {example!r} there. Name another part "
            "by --part, or leave others out by --others drop"
        )
    for name, one in found.items():
        if name in known:
            _check(path, name, one.boxes.numpy(), one.scores.numpy(), known[name])
    kept = {name: one for name, one in found.items() if name in known}
    return kept, len(known) - len(kept), len(strange)


def _check(path: Path, name: str, boxes: np.ndarray, scores: np.ndarray, one: KeySlice) -> None:
    outside = scores[(scores < 0) | (scores > 1)]
    if len(outside):
        raise InputError(
            f"{path}: image {name!r} has the score {outside[0]:g}, expected 0 to 1; give "
            "probabilities"
        )
    height, width = one.size
    away = (boxes[:, :2] > [width - 1, height - 1]).any(1) | (boxes[:, 2:] < 0).any(1)
    if away.any():
        told = ", ".join(f"{end:g}" for end in boxes[away][0])
        raise InputError(
            f"{path}: image {name!r} has the box {told}, which lies outside its {width} × {height} "
            "pixels; boxes are x1, y1, x2, y2 in pixels of the slice, from 0"
        )
