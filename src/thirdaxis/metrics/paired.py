"""Two methods on the same cases: how much they differ, and whether by more than chance."""

import math
from collections.abc import Sequence
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
        p: two-sided, of the Wilcoxon signed-rank test; 1 where no case differs.
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
