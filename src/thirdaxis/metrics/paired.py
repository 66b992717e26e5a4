"""Two methods on the same cases: how much they differ, and whether by more than chance."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from thirdaxis.metrics.bootstrap import bootstrap


@dataclass(frozen=True)
class Paired:
    """A comparison over cases.

    Args:
        cases: how many both have a finite score of.
        mean: of the differences, first less second.
        low: lower end of the 95 % bootstrap interval of the mean, over cases.
        high: upper end of it.
        p: two-sided, of the Wilcoxon signed-rank test (1 where no case differs), or of the draws.
    """

    cases: int
    mean: float
    low: float
    high: float
    p: float


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Compares scores of the same cases, in the same order.

    Cases for which either is nan or infinite are left out; fewer than two cases give nan.

    Source: Wilcoxon, "Individual Comparisons by Ranking Methods", 1945.

    Args:
        first: scores of one method.
        second: scores of the other.

    Returns:
        The comparison.
    """
    apart = np.subtract(first, second, dtype=float)
    apart = apart[np.isfinite(apart)]
    if len(apart) < 2:
        mean = float(apart.mean()) if len(apart) else math.nan
        return Paired(len(apart), mean, math.nan, math.nan, math.nan)
    low, high = bootstrap(lambda drawn: {"mean": float(apart[drawn].mean())}, len(apart))["mean"]
    p = float(stats.wilcoxon(apart).pvalue) if apart.any() else 1.0
    return Paired(len(apart), float(apart.mean()), low, high, p)


def paired_draws(
    first: Callable[[np.ndarray], float],
    second: Callable[[np.ndarray], float],
    cases: Sequence[Hashable],
    *,
    draws: int = 500,
    seed: int = 0,
) -> Paired:
    """Compares scores that only many samples have together, such as AUC, by drawing cases.

    The same cases are drawn for both, each with all its samples; draws for which either score is
    nan are left out.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, sections 8 and 15.

    Args:
        first: score of one method, given ``(m,)`` sample numbers with repetitions.
        second: score of the other.
        cases: the case of each sample.
        draws: how many.
        seed: of the draws.

    Returns:
        The comparison; p is twice the share of draws on the other side of 0, at least 1 over the
        draws. Fewer than two cases give nan.
    """
    every = np.arange(len(cases))
    known, whose = np.unique([str(case) for case in cases], return_inverse=True)
    if len(known) < 2:
        return Paired(len(known), math.nan, math.nan, math.nan, math.nan)
    members = [np.flatnonzero(whose == number) for number in range(len(known))]
    random = np.random.default_rng(seed)
    apart = np.empty(draws)
    for number in range(draws):
        drawn = [members[case] for case in random.integers(len(known), size=len(known))]
        samples = np.concatenate(drawn)
        apart[number] = first(samples) - second(samples)
    apart = apart[np.isfinite(apart)]
    mean = first(every) - second(every)
    if not len(apart):
        return Paired(len(known), mean, math.nan, math.nan, math.nan)
    low, high = np.percentile(apart, (2.5, 97.5))
    other = 2 * min((apart <= 0).mean(), (apart >= 0).mean())
    p = float(min(1.0, max(other, 1 / draws)))
    return Paired(len(known), mean, float(low), float(high), p)
