"""How far a score could have come out elsewhere, had other samples been drawn."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from thirdaxis.errors import InputError, UsageError

Interval = tuple[float, float]


def bootstrap(
    scores: Callable[[np.ndarray], Mapping[str, float]],
    samples: int,
    *,
    strata: Sequence[Hashable] | None = None,
    cases: Sequence[Hashable] | None = None,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals of scores over samples drawn again with replacement.

    Samples are drawn one by one; within each stratum, so that every draw has as many of each
    class; or by whole cases, so that what comes from one patient stays together. Draws for which
    a score is nan are left out of its interval.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, sections 13.3 and 8.

    Args:
        scores: maps ``(m,)`` sample numbers, with repetitions, to named scores.
        samples: how many there are.
        strata: the class of each sample; none draws over all.
        cases: the case of each sample; none takes each sample as its own.
        draws: how many.
        confidence: share of the draws inside the interval.
        seed: of the draws.

    Returns:
        For each score its lower and upper end; nan where no draw has a value.

    Raises:
        UsageError: strata together with cases, no draws, or a confidence outside 0 to 1.
        InputError: no samples, or strata or cases of another length.
    """
    if strata is not None and cases is not None:
        raise UsageError("a bootstrap draws by strata or by cases, not by both")
    if draws < 1 or not 0 < confidence < 1:
        raise UsageError(f"a bootstrap needs {draws=} of 1 or more, 0 < {confidence=} < 1")
    for name, given in (("strata", strata), ("cases", cases)):
        if given is not None and len(given) != samples:
            raise InputError(f"{len(given)} {name} for {samples} samples")
    if samples < 1:
        raise InputError("a bootstrap needs at least one sample")
    random = np.random.default_rng(seed)
    draw = _drawing(samples, strata, cases)
    found: dict[str, list[float]] = {}
    for _ in range(draws):
        for name, value in scores(draw(random)).items():
            found.setdefault(name, []).append(value)
    ends = (50 * (1 - confidence), 50 * (1 + confidence))
    return {name: _percentiles(values, ends) for name, values in found.items()}


def _drawing(
    samples: int, strata: Sequence[Hashable] | None, cases: Sequence[Hashable] | None
) -> Callable[[np.random.Generator], np.ndarray]:
    if strata is not None:
        parts = _members(strata)
        return lambda random: np.concatenate([random.choice(part, len(part)) for part in parts])
    if cases is not None:
        parts = _members(cases)
        return lambda random: np.concatenate(
            [parts[number] for number in random.integers(len(parts), size=len(parts))]
        )
    return lambda random: random.integers(samples, size=samples)


def _members(groups: Sequence[Hashable]) -> list[np.ndarray]:
    found: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        found.setdefault(group, []).append(number)
    return [np.array(numbers) for numbers in found.values()]


def _percentiles(values: Sequence[float], ends: tuple[float, float]) -> Interval:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan, math.nan
    low, high = np.percentile(known, ends)
    return float(low), float(high)
