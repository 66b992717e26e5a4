"""What a page says of scored detections: numbers, curves, images to sort, pictures of the worst."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from thirdaxis.data.lesions.key_slice import KeySlice
from thirdaxis.errors import InputError
from thirdaxis.metrics.froc import RATES
from thirdaxis.metrics.froc_images import OneImage
from thirdaxis.tasks.detection.evaluate import OVERLAPS, Evaluation, Scored, size_mm
from thirdaxis.tasks.detection.pictures import slice_figure
from thirdaxis.tasks.froc.page import comparison, image_table, outcome
from thirdaxis.tasks.froc.plot import froc_figure, froc_line
from thirdaxis.tasks.page import (
    Cell,
    Facts,
    Picture,
    Section,
    Table,
    drawn,
    photographed,
    write_page,
)

PAGE = "scores.html"


def write_scores_page(
    scores: Evaluation,
    folder: Path,
    title: str,
    *,
    other: str = "",
    pictures: int = 8,
    watch: Callable[[Sequence[OneImage]], Iterable[OneImage]] = lambda images: images,
) -> Path:
    """Writes `scores.html`, one self-contained page.

    Args:
        scores: of a set of detections.
        folder: where to.
        title: of the page.
        other: what the detections were compared with.
        pictures: how many of the worst images are drawn; the best one is drawn too.
        watch: wraps the images that are drawn.

    Returns:
        The page's path.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    every = scores.groups[0].froc
    patients = len({one.patient for one in scores.truth.slices})
    lead = (
        f"{every.lesions} lesions on {every.images} images of {patients} patients: "
        f"{scores.truth.origin}."
    )
    if scores.truth.note:
        lead += f" {scores.truth.note}"
    if scores.unmentioned:
        lead += f" {scores.unmentioned} images have no entry in the detections: nothing found."
    if scores.left_out:
        lead += f" {scores.left_out} images of the detections are not among them and were dropped."
    if scores.truth.left_out:
        lead += f" {len(scores.truth.left_out)} lesions could not be used."
    worst = [one for one in scores.images if one.missed or one.alarms][:pictures]
    right = [one for one in scores.images if one.lesions and not one.missed and not one.alarms]
    best = right[:1] if pictures else []
    names = {one.name: f"image-{number}" for number, one in enumerate([*worst, *best])}
    shown = {one.name: _picture(scores, one, names[one.name]) for one in watch([*worst, *best])}
    names = {name: anchor for name, anchor in names.items() if shown[name] is not None}
    sections = [
        Section("FROC", [_facts(scores), _curve(scores), _table(scores.groups)]),
        Section("Compared", comparison(scores.difference, f"These detections less {other}.")),
        Section("Images", [_images(scores, names)]),
        Section("Worst images", [one for row in worst if (one := shown[row.name])]),
        Section("Nothing wrong", [one for row in best if (one := shown[row.name])]),
    ]
    return write_page(folder / PAGE, title, lead, sections)


def _facts(scores: Evaluation) -> Facts:
    every = scores.groups[0]
    low, high = every.ends.mean
    at_one = float(every.froc.sensitivity_at((1.0,))[0])
    facts = [
        ("FROC", f"{every.froc.mean:.3f}", f"95 % interval {low:.3f} to {high:.3f}"),
        ("sensitivity", f"{at_one:.3f}", "at 1 false positive an image"),
        ("images", str(every.froc.images), ""),
        ("lesions", str(every.froc.lesions), ""),
    ]
    if "ap50" in scores.precision:
        ap = scores.precision["ap"]
        facts.insert(2, ("AP50 (COCO)", f"{scores.precision['ap50']:.3f}", f"AP {ap:.3f}"))
    return Facts(facts)


def _curve(scores: Evaluation) -> Picture:
    patients = {one.name: one.patient for one in scores.truth.slices}
    first, *rest = scores.groups
    lines = [froc_line(first.name, first.froc, patients)]
    lines += [froc_line(group.name, group.froc) for group in rest]
    caption = (
        "Shaded: 95 % bootstrap interval over patients, of all images. FROC is the mean "
        "sensitivity at 0.5, 1, 2 and 4 false positives an image."
    )
    return Picture(
        drawn(froc_figure(lines)), "Sensitivity against false positives an image", caption
    )


def _table(groups: Sequence[Scored]) -> Table:
    rows: list[list[Cell]] = [
        [
            group.name,
            group.froc.images,
            group.froc.lesions,
            group.froc.mean,
            f"{group.ends.mean[0]:.3f} to {group.ends.mean[1]:.3f}",
            *group.froc.sensitivity_at().tolist(),
        ]
        for group in groups
    ]
    heads = ["group", "images", "lesions", "FROC", "95 % interval", *(f"at {r:g}" for r in RATES)]
    caption = (
        "At so many false positives an image; each group by the number of its own images. Of "
        "lesions of a size, what fits another lesion is neither hit nor false positive. Sizes are "
        "long diameters; where none was measured, the longer side of the box."
    )
    return Table(heads, rows, caption)


def _images(scores: Evaluation, anchors: dict[str, str]) -> Table:
    known = {one.name: one for one in scores.truth.slices}

    def smallest(one: OneImage) -> float:
        return float(size_mm(known[one.name]).min(initial=math.inf)) if one.lesions else math.nan

    more: dict[str, Callable[[OneImage], Cell]] = {
        "smallest mm": smallest,
        "slices apart mm": lambda one: known[one.name].spacing[0],
    }
    return image_table(scores.images, anchors, "image", scores.threshold, scores.rate, more)


def _picture(scores: Evaluation, row: OneImage, anchor: str) -> Picture | None:
    one = next(each for each in scores.truth.slices if each.name == row.name)
    grey = _pixels(scores, one)
    if grey is None:
        return None
    truth = one.boxes.numpy().astype(float).reshape(-1, 4)
    boxes, values = np.zeros((0, 4)), np.zeros(0)
    if one.name in scores.found:
        boxes, values = (part.numpy().astype(float) for part in scores.found[one.name])
        loud = values >= scores.threshold
        boxes, values = boxes[loud].reshape(-1, 4), values[loud]
    fits = OVERLAPS[scores.overlap](boxes, truth) >= scores.fits
    right, hit = np.asarray(fits.any(axis=1)), np.asarray(fits.any(axis=0))
    told = list(zip(boxes.tolist(), values.tolist(), strict=True))
    figure = slice_figure(
        grey,
        [each for each, good in zip(told, right, strict=True) if good],
        [each for each, good in zip(told, right, strict=True) if not good],
        truth[hit].tolist(),
        truth[~hit].tolist(),
        one.spacing[1] / one.spacing[2],
    )
    alt = f"Slice {one.name} with boxes found and true"
    return Picture(photographed(figure), alt, outcome(row), anchor)


def _pixels(scores: Evaluation, one: KeySlice) -> np.ndarray | None:
    if scores.truth.read is None:
        return None
    try:
        return np.asarray(scores.truth.read(one, 1, None)[0], dtype=float)
    except InputError:  # an image that is gone costs its picture, not the scores
        return None
