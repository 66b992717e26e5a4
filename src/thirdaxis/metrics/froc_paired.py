"""Two detectors on the same images: how much their FROC differ, and whether by more than chance."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from thirdaxis.errors import InputError
from thirdaxis.metrics.froc import HEADLINE, RATES, Froc


@dataclass(frozen=True)
class FrocDifference:
    """Mean sensitivity at 0.5, 1, 2 and 4 false positives an image: the first less the second.

    Args:
        first: of the first.
        second: of the other.
        low: lower end of the 95 % bootstrap interval of the difference, over patients.
        high: upper end of it.
        p: two-sided: twice the share of draws on the other side of 0, at least 1 over the draws.
        patients: how many were drawn from.
    """

    first: float
    second: float
    low: float
    high: float
    p: float
    patients: int

    @property
    def mean(self) -> float:
        """The difference itself."""
        return self.first - self.second


def froc_difference(
    first: Froc,
    second: Froc,
    patients: Mapping[str, Hashable],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> FrocDifference:
    """Compares two sets of detections by drawing patients, the same ones for both.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, sections 8 and 15.

    Args:
        first: one set of detections, matched by `froc` with the same truth.
        second: the other.
        patients: image -> patient.
        draws: how many.
        seed: of the draws.

    Returns:
        The comparison; nan where no draw has a lesion.

    Raises:
        InputError: other images or lesions, or an image without a patient.
    """
    if first.names != second.names or (first.lesion_images != second.lesion_images).any():
        raise InputError("two FROC are compared on the same images with the same lesions")
    lost = [name for name in first.names if name not in patients]
    if lost:
        raise InputError(f"no patient is known for the image {lost[0]!r}")
    _, whose = np.unique([str(patients[name]) for name in first.names], return_inverse=True)
    count = int(whose.max()) + 1
    random = np.random.default_rng(seed)
    apart = np.empty(draws)
    for number in range(draws):
        weights = np.bincount(random.integers(count, size=count), minlength=count)[whose]
        apart[number] = _mean(first, weights) - _mean(second, weights)
    apart = apart[np.isfinite(apart)]
    if not len(apart):
        return FrocDifference(first.mean, second.mean, np.nan, np.nan, np.nan, count)
    low, high = np.percentile(apart, (2.5, 97.5))
    other = 2 * min((apart <= 0).mean(), (apart >= 0).mean())
    p = float(min(1.0, max(other, 1 / draws)))
    return FrocDifference(first.mean, second.mean, float(low), float(high), p, count)


def _mean(scored: Froc, weights: np.ndarray) -> float:
    if not weights.sum():
        return float("nan")
    return float(np.interp(RATES[:HEADLINE], *scored.curve(weights.astype(float))).mean())
