"""Two methods, several runs of each: their means, and whether they differ by more than chance."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from thirdaxis.metrics.bootstrap import Interval


@dataclass(frozen=True)
class Independent:
    """A comparison of two means.

    Args:
        difference: of the means, first less second.
        low: lower end of its 95 % interval.
        high: upper end of it.
        t: the statistic.
        freedom: degrees of freedom.
        p: two-sided.
    """

    difference: float
    low: float
    high: float
    t: float
    freedom: float
    p: float


def independent(
    first: Sequence[float], second: Sequence[float], *, welch: bool = False
) -> Independent:
    """The t-test of two independent samples, such as the scores of runs of other seeds.

    Sources: Student, "The Probable Error of a Mean", Biometrika 6, 1908; Welch, "The Generalization
    of 'Student's' Problem when Several Different Population Variances are Involved", Biometrika 34,
    1947.

    Args:
        first: scores of one method.
        second: scores of the other.
        welch: whether the two may vary by different amounts; otherwise their variances are pooled.

    Returns:
        The comparison. Fewer than two scores of either give nan for all but the difference; where
        neither varies p is 1 for equal means and 0 for others.
    """
    one, other = np.asarray(first, float), np.asarray(second, float)
    apart = float(one.mean() - other.mean()) if len(one) and len(other) else math.nan
    if min(len(one), len(other)) < 2:
        return Independent(apart, *[math.nan] * 5)
    if _constant(one) and _constant(other):
        same = one[0] == other[0]
        t = 0.0 if same else math.copysign(math.inf, apart)
        return Independent(apart, apart, apart, t, len(one) + len(other) - 2.0, float(same))
    with warnings.catch_warnings():
        # One of the two may well be constant; its variance of 0 is right.
        warnings.filterwarnings("ignore", message="Precision loss", category=RuntimeWarning)
        found = stats.ttest_ind(one, other, equal_var=not welch)
    ends = found.confidence_interval(0.95)
    return Independent(
        apart,
        *(float(value) for value in (ends.low, ends.high, found.statistic, found.df, found.pvalue)),
    )


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The interval of a mean of few independent values, by Student's t.

    Args:
        values: such as the scores of runs of other seeds.
        confidence: how sure.

    Returns:
        Its ends; nan for fewer than two values.
    """
    if len(values) < 2:
        return math.nan, math.nan
    array = np.asarray(values, float)
    half = stats.t.ppf((1 + confidence) / 2, len(array) - 1) * array.std(ddof=1)
    half = float(half / math.sqrt(len(array)))
    return float(array.mean()) - half, float(array.mean()) + half


def _constant(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())
