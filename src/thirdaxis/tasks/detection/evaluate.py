"""Scores boxes found by any tool against the truth: FROC with intervals, by thickness and size."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from thirdaxis.atomic import write_text
from thirdaxis.data.lesions.detections import Detections
from thirdaxis.data.lesions.key_slice import KeySlice
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.metrics.boxes import iobb, iou
from thirdaxis.metrics.froc import RATES, Froc, FrocIntervals, froc, froc_intervals
from thirdaxis.metrics.froc_images import OneImage, threshold_at, worst_first
from thirdaxis.metrics.froc_paired import FrocDifference, froc_difference
from thirdaxis.metrics.table import strict
from thirdaxis.tasks.classification.evaluate import json_text
from thirdaxis.tasks.detection.truth import Truth

SCORES_CSV, SCORES_JSON = "scores.csv", "scores.json"
OVERLAPS = {"iou": iou, "iobb": iobb}
THIN_MM, THICK_MM = 2.0, 5.0
SIZES_MM = (10.0, 30.0)


@dataclass(frozen=True)
class Scored:
    """A group of images or lesions.

    Args:
        name: of the group.
        froc: of it.
        ends: intervals over patients.
    """

    name: str
    froc: Froc
    ends: FrocIntervals


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of a set of detections.

    Args:
        truth: what they were scored against.
        found: what was scored; images of the truth only.
        groups: all, and parts of them.
        precision: COCO's average precision, by name; empty where pycocotools is missing.
        difference: from other detections; none where there is nothing to compare with.
        unmentioned: images of the truth that the detections do not name.
        left_out: images of the detections that the truth does not name.
        overlap: rule of what hits a lesion.
        fits: the least overlap that does.
        rate: false positives an image at which single images are judged.
    """

    truth: Truth
    found: Detections
    groups: tuple[Scored, ...]
    precision: Mapping[str, float]
    difference: FrocDifference | None
    unmentioned: int
    left_out: int
    overlap: str
    fits: float
    rate: float

    @cached_property
    def threshold(self) -> float:
        """The least score at which there are no more false positives an image than `rate`."""
        return threshold_at(self.groups[0].froc, self.rate)

    @cached_property
    def images(self) -> list[OneImage]:
        """Every image, the worst first: most missed lesions, then most and strongest alarms."""
        told = ((one.name, one.patient, len(one.boxes)) for one in self.truth.slices)
        return worst_first(self.groups[0].froc, self.threshold, told)


def score(
    truth: Truth,
    found: Detections,
    other: Detections | None = None,
    *,
    overlap: str = "iou",
    fits: float = 0.5,
    rate: float = 1.0,
    draws: int = 1000,
    seed: int = 0,
    unmentioned: int = 0,
    left_out: int = 0,
) -> Evaluation:
    """Scores detections.

    Args:
        truth: the key slices.
        found: on images of the truth.
        other: detections of another tool on the same, to compare with.
        overlap: ``iou``, or ``iobb``: the share of the found box that is in the true one.
        fits: the least overlap that is a hit.
        rate: false positives an image at which single images are judged.
        draws: of the bootstrap, over patients.
        seed: of the draws.
        unmentioned: told on.
        left_out: told on.

    Raises:
        UsageError: an unknown overlap, or a number out of range.
    """
    if overlap not in OVERLAPS:
        raise UsageError(f"no overlap {overlap!r}{did_you_mean(overlap, OVERLAPS)}")
    if not 0 < fits <= 1 or not rate > 0 or draws < 1:
        raise UsageError(
            f"expected 0 < fits <= 1, rate above 0 and draws of 1 or more, not {fits=}, {rate=}, "
            f"{draws=}"
        )
    wanted = {one.name: one.boxes for one in truth.slices}
    patients = {one.name: one.patient for one in truth.slices}
    told: dict[str, Any] = {"overlap": OVERLAPS[overlap], "threshold": fits}
    every = froc(found, wanted, **told)
    groups = tuple(
        Scored(name, part, froc_intervals(part, patients, draws=draws, seed=seed))
        for name, part in _groups(every, truth.slices).items()
    )
    difference = None
    if other is not None:
        rival = froc(other, wanted, **told)
        difference = froc_difference(every, rival, patients, draws=draws, seed=seed)
    return Evaluation(
        truth,
        found,
        groups,
        _precision(found, wanted),
        difference,
        unmentioned,
        left_out,
        overlap,
        fits,
        rate,
    )


def write_scores(scores: Evaluation, folder: Path) -> None:
    """Writes `scores.csv`, a line a group, and `scores.json`, with every image too."""
    folder.mkdir(parents=True, exist_ok=True)
    out = io.StringIO()
    rows = [_row(group) for group in scores.groups]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / SCORES_CSV, out.getvalue())
    told: dict[str, Any] = {
        "truth": scores.truth.origin,
        "note": scores.truth.note,
        "rule": {"overlap": scores.overlap, "fits": scores.fits},
        "groups": rows,
        "average_precision": dict(scores.precision),
        "threshold": {"false_alarms_an_image": scores.rate, "score": scores.threshold},
        "unmentioned_images": scores.unmentioned,
        "dropped_images": scores.left_out,
        "images": [asdict(one) for one in scores.images],
    }
    if scores.difference is not None:
        told["difference"] = {"mean": scores.difference.mean, **asdict(scores.difference)}
    write_text(folder / SCORES_JSON, json_text(strict(told)))


def size_mm(one: KeySlice) -> np.ndarray:
    """Long diameters of the lesions of a slice; where none was measured, the longer side."""
    measured = one.diameters()[:, 0].numpy().astype(float)
    boxes = one.boxes.numpy().astype(float).reshape(-1, 4)
    sides = (boxes[:, 2:] - boxes[:, :2] + 1) * [one.spacing[2], one.spacing[1]]
    return np.where(np.isfinite(measured), measured, sides.max(1, initial=0))


def _groups(every: Froc, slices: Sequence[KeySlice]) -> dict[str, Froc]:
    """All, by the distance of slices, and by the size of lesions; empty ones and twins are out."""
    apart = {one.name: one.spacing[0] for one in slices}
    found = {"all": every}
    for name, holds in {
        f"thin, up to {THIN_MM:g} mm": lambda mm: mm <= THIN_MM,
        f"thick, over {THIN_MM:g} mm": lambda mm: mm > THIN_MM,
        f"thick, {THICK_MM:g} mm": lambda mm: mm == THICK_MM,
    }.items():
        names = tuple(name for name, mm in apart.items() if holds(mm))
        if names and all(names != other.names for other in found.values()):
            found[name] = every.part(names)
    sizes = np.concatenate([size_mm(one) for one in slices])
    small, large = SIZES_MM
    for name, kept in {
        f"lesions below {small:g} mm": sizes < small,
        f"lesions of {small:g} to {large:g} mm": (sizes >= small) & (sizes <= large),
        f"lesions over {large:g} mm": sizes > large,
    }.items():
        if kept.any() and not kept.all():
            found[name] = every.of_lesions(kept)
    return {name: part for name, part in found.items() if part.lesions}


def _precision(found: Detections, wanted: Mapping[str, Any]) -> dict[str, float]:
    from thirdaxis.metrics.average_precision import average_precision

    try:
        return average_precision(found, wanted)
    except ImportError:
        return {}


def _row(group: Scored) -> dict[str, Any]:
    row: dict[str, Any] = {
        "group": group.name,
        "images": group.froc.images,
        "lesions": group.froc.lesions,
        "froc": group.froc.mean,
        "froc_low": group.ends.mean[0],
        "froc_high": group.ends.mean[1],
    }
    for rate, value in zip(RATES, group.froc.sensitivity_at().tolist(), strict=True):
        low, high = group.ends.at[rate]
        row |= {f"at_{rate:g}": value, f"at_{rate:g}_low": low, f"at_{rate:g}_high": high}
    return row
