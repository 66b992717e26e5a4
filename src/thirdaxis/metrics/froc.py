"""FROC: the share of lesions found against the number of false positives an image."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from thirdaxis.errors import InputError, UsageError
from thirdaxis.metrics.bootstrap import Interval, bootstrap
from thirdaxis.metrics.boxes import iou

RATES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""False positives an image at which the published tables tell the sensitivity."""
HEADLINE = 4
"""How many of the rates, from the first, go into the mean."""

Overlap = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Takes what was found (K, …) and the truth (L, …) of an image, gives how well they fit, (K, L)."""


@dataclass(frozen=True, eq=False)
class Froc:
    """Matched detections of a set of images, made by `froc`.

    Args:
        names: of the images, with lesions or without.
        alarms: ``(F,)`` scores of the false positives.
        alarm_images: ``(F,)`` the image of each, as its place in `names`.
        hits: ``(L,)`` of each lesion the score at which it is found; -inf where it never is.
        lesion_images: ``(L,)`` the image of each.
    """

    names: tuple[str, ...]
    alarms: np.ndarray
    alarm_images: np.ndarray
    hits: np.ndarray
    lesion_images: np.ndarray

    @property
    def images(self) -> int:
        """How many."""
        return len(self.names)

    @property
    def lesions(self) -> int:
        """How many."""
        return len(self.hits)

    @property
    def mean(self) -> float:
        """Mean sensitivity at 0.5, 1, 2 and 4 false positives an image; nan without lesions."""
        return float(self.sensitivity_at(RATES[:HEADLINE]).mean())

    def curve(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """False positives an image and sensitivity from (0, 0) on, a point wherever it turns.

        Args:
            weights: ``(images,)`` how often each image counts, as in a bootstrap draw; none
                counts each once.

        Returns:
            Both, as many numbers each; nan sensitivities where there are no lesions.
        """
        times = np.ones(self.images) if weights is None else weights
        alarm_steps, hit_steps = self._steps
        size = 1 + max(int(steps.max(initial=-1)) for steps in self._steps)
        found = self.lesion_images[np.isfinite(self.hits)]
        alarms = np.bincount(alarm_steps, times[self.alarm_images], size).cumsum()
        hits = np.bincount(hit_steps, times[found], size).cumsum()
        lesions = times[self.lesion_images].sum()
        with np.errstate(invalid="ignore"):
            sensitivity = np.append(0.0, hits) / lesions  # nan without lesions
        return np.append(0.0, alarms) / times.sum(), sensitivity

    def sensitivity_at(self, rates: Sequence[float] | np.ndarray = RATES) -> np.ndarray:
        """Sensitivity at these numbers of false positives an image, by linear interpolation.

        Args:
            rates: any numbers from 0 on; beyond the last false positive the last sensitivity holds.

        Returns:
            Of each rate; nan where there are no lesions.
        """
        return np.interp(rates, *self.curve())

    def part(self, names: Sequence[str]) -> "Froc":
        """The same of some images alone, such as those of thin slices; their number counts.

        Args:
            names: of these images, each once.

        Raises:
            InputError: no images, or one that is not here.
        """
        place = {name: number for number, name in enumerate(self.names)}
        strange = [name for name in names if name not in place]
        if strange or not names:
            told = f"{strange[0]!r} is none of them" if strange else "none is chosen"
            raise InputError(f"a part of {self.images} images: {told}")
        new = np.full(self.images, -1)
        new[[place[name] for name in names]] = np.arange(len(names))
        alarms, lesions = new[self.alarm_images], new[self.lesion_images]
        return Froc(
            tuple(names),
            self.alarms[alarms >= 0],
            alarms[alarms >= 0],
            self.hits[lesions >= 0],
            lesions[lesions >= 0],
        )

    def of_lesions(self, kept: Sequence[bool] | np.ndarray) -> "Froc":
        """The same of some lesions alone, such as those of a size, on the images that have them.

        A detection that fits only lesions left out is neither hit nor false positive.

        Args:
            kept: of each lesion, image by image as in `names` and within it as in the truth.

        Raises:
            InputError: another number of lesions, or none of them is kept.
        """
        chosen = np.asarray(kept, dtype=bool)
        if chosen.shape != self.hits.shape:
            raise InputError(f"{len(chosen)} choices for {self.lesions} lesions")
        there = sorted(set(self.lesion_images[chosen].tolist()))
        of_kept = Froc(
            self.names,
            self.alarms,
            self.alarm_images,
            self.hits[chosen],
            self.lesion_images[chosen],
        )
        return of_kept.part([self.names[number] for number in there])

    @cached_property
    def _steps(self) -> tuple[np.ndarray, np.ndarray]:
        """The step of the curve that each false positive, and each hit, belongs to.

        Which of two equal scores comes first says nothing, so that they make one step; what lies
        between two hits makes one too, as the curve is straight there.
        """
        found = np.isfinite(self.hits)
        scores = np.concatenate([self.alarms, self.hits[found]])
        levels, of = np.unique(-scores, return_inverse=True)
        has_hit = np.zeros(len(levels), bool)
        has_hit[of[len(self.alarms) :]] = True
        begins = has_hit.copy()
        begins[1:] |= has_hit[:-1]
        begins[:1] = False  # the first step is number 0 whatever it holds
        step = begins.cumsum()[of]
        return step[: len(self.alarms)], step[len(self.alarms) :]


def froc(
    found: Mapping[str, tuple[Any, Any]],
    truth: Mapping[str, Any],
    *,
    overlap: Overlap = iou,
    threshold: float = 0.5,
) -> Froc:
    """Matches detections with lesions by the rule of the published evaluations on DeepLesion.

    The detections of all images are gone through from the highest score down. One that fits no
    lesion of its image is a false positive; else all lesions that it fits are found, and what fits
    only lesions found before counts as nothing.

    Source: the evaluation of 3DCE (Yan et al., MICCAI 2018), MULAN, AlignShift and A3D.

    Args:
        found: image -> boxes ``(K, 4)`` (or what `overlap` takes) and scores ``(K,)``; an image of
            the truth that is not there has none.
        truth: image -> boxes ``(L, 4)``, L may be 0; all images that count, as arrays or tensors.
        overlap: how well they fit: `iou`, `iobb`, or another rule of the same form, such as
            `contains` for points in three dimensions.
        threshold: the least that is a fit.

    Returns:
        What curves, sensitivities and parts are taken from.

    Raises:
        UsageError: a threshold of 0 or less.
        InputError: no images, detections on an image that the truth does not name, as many scores
            as boxes are not there, or a score that is not finite.
    """
    if not threshold > 0:
        raise UsageError(f"a fit needs a {threshold=} above 0")
    if not truth:
        raise InputError("a FROC needs at least one image")
    strange = [name for name in found if name not in truth]
    if strange:
        raise InputError(f"detections on {strange[0]!r}, which is no image of the truth")
    alarms, alarm_images, hits, lesion_images = [], [], [], []
    for number, (name, wanted) in enumerate(truth.items()):
        boxes = _rows(wanted)
        fits, scores = _fits(name, found.get(name), boxes, overlap, threshold)
        wrong = scores[~fits.any(axis=1)]
        alarms.append(wrong)
        alarm_images.append(np.full(len(wrong), number))
        hits.append(np.where(fits, scores[:, None], -np.inf).max(axis=0, initial=-np.inf))
        lesion_images.append(np.full(len(boxes), number))
    return Froc(
        tuple(truth),
        np.concatenate(alarms),
        np.concatenate(alarm_images),
        np.concatenate(hits),
        np.concatenate(lesion_images),
    )


@dataclass(frozen=True)
class FrocIntervals:
    """How far sensitivities could have come out elsewhere.

    Args:
        at: lower and upper end at each rate.
        mean: those of the mean at 0.5, 1, 2 and 4 false positives an image.
    """

    at: dict[float, Interval]
    mean: Interval


def froc_intervals(
    scored: Froc,
    patients: Mapping[str, Hashable],
    *,
    rates: Sequence[float] = RATES,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> FrocIntervals:
    """Bootstrap intervals over patients, each drawn with all images of its own.

    Args:
        scored: by `froc`.
        patients: image -> patient; others may be in it too.
        rates: false positives an image.
        draws: how many.
        confidence: share of the draws inside the interval.
        seed: of the draws.

    Returns:
        The intervals; nan where there are no lesions.

    Raises:
        InputError: an image without a patient.
    """
    lost = [name for name in scored.names if name not in patients]
    if lost:
        raise InputError(f"no patient is known for the image {lost[0]!r}")
    both = np.array([*RATES[:HEADLINE], *rates])

    def drawn(chosen: np.ndarray) -> dict[str, float]:
        weights = np.bincount(chosen, minlength=scored.images).astype(float)
        values = np.interp(both, *scored.curve(weights))
        numbers = {str(number): value for number, value in enumerate(values[HEADLINE:])}
        return {"mean": float(values[:HEADLINE].mean()), **numbers}

    ends = bootstrap(
        drawn,
        scored.images,
        cases=[patients[name] for name in scored.names],
        draws=draws,
        confidence=confidence,
        seed=seed,
    )
    return FrocIntervals({rate: ends[str(n)] for n, rate in enumerate(rates)}, ends["mean"])


def _rows(values: Any) -> np.ndarray:
    rows = np.asarray(values, dtype=float)
    return rows if rows.size else rows.reshape(0, rows.shape[-1] if rows.ndim == 2 else 0)


def _fits(
    name: str, one: tuple[Any, Any] | None, boxes: np.ndarray, overlap: Overlap, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which detections (K, …) of an image fit which of its lesions, and their scores."""
    if one is None:
        return np.zeros((0, len(boxes)), bool), np.zeros(0)
    places, scores = _rows(one[0]), np.asarray(one[1], dtype=float).reshape(-1)
    if len(places) != len(scores):
        raise InputError(f"{name}: {len(scores)} scores for {len(places)} detections")
    if not np.isfinite(scores).all():
        raise InputError(f"{name}: a score is not a finite number")
    if not len(places) or not len(boxes):
        return np.zeros((len(places), len(boxes)), bool), scores
    return overlap(places, boxes) >= threshold, scores
