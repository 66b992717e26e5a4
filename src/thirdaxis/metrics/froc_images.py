"""Single images, or volumes, of a FROC: what each missed and what it found wrongly."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from thirdaxis.metrics.froc import Froc


@dataclass(frozen=True)
class OneImage:
    """An image at one threshold.

    Args:
        name: of it.
        patient: whose it is.
        lesions: in it.
        missed: of these.
        alarms: false ones.
        worst: score of the strongest false positive; nan without one.
    """

    name: str
    patient: str
    lesions: int
    missed: int
    alarms: int
    worst: float


def threshold_at(every: Froc, rate: float) -> float:
    """The least score at which there are no more false positives an image than `rate`.

    Args:
        every: all images.
        rate: false positives an image.

    Returns:
        Just above the strongest alarm that is too many; without such a one the least score there
        is, or 0 where all are above it.
    """
    alarms = np.sort(every.alarms)[::-1]
    allowed = math.floor(rate * every.images + 1e-9)
    if len(alarms) > allowed:
        return float(np.nextafter(alarms[allowed], np.inf))
    return float(np.concatenate([alarms, every.hits[np.isfinite(every.hits)]]).min(initial=0.0))


def worst_first(
    every: Froc, threshold: float, images: Iterable[tuple[str, str, int]]
) -> list[OneImage]:
    """Every image: those of most missed lesions first, then of most and of strongest alarms.

    Args:
        every: all images.
        threshold: the least score that counts.
        images: name, patient and number of lesions of each, in the order of `every`.
    """
    loud = every.alarms >= threshold
    alarms = np.bincount(every.alarm_images[loud], minlength=every.images)
    worst = np.full(every.images, np.nan)
    np.fmax.at(worst, every.alarm_images[loud], every.alarms[loud])
    missed = np.bincount(every.lesion_images[every.hits < threshold], minlength=every.images)
    rows = [
        OneImage(*one, int(miss), int(false), float(most))
        for one, miss, false, most in zip(images, missed, alarms, worst, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row.missed, -row.alarms, -np.nan_to_num(row.worst)))
