import itertools
import math

import numpy as np
import pytest

from thirdaxis.metrics.paired import Paired, paired


def test_p_is_the_share_of_sign_patterns_at_least_as_extreme():
    first, second = [0.9, 0.8, 0.75, 0.6, 0.95], [0.7, 0.81, 0.7, 0.3, 0.8]
    apart = np.subtract(first, second)
    ranks = abs(apart).argsort().argsort() + 1

    def extreme(signs):
        return abs(sum(r for r, s in zip(ranks, signs, strict=True) if s > 0) - ranks.sum() / 2)

    seen = extreme(np.sign(apart))
    patterns = list(itertools.product((-1, 1), repeat=5))
    expected = np.mean([extreme(signs) >= seen - 1e-9 for signs in patterns])
    found = paired(first, second)
    assert found.p == pytest.approx(expected)
    assert found.mean == pytest.approx(apart.mean())
    assert found.low < found.mean < found.high
    assert found.cases == 5


def test_the_interval_is_of_the_differences_not_of_the_scores():
    first = np.random.default_rng(0).uniform(size=40)
    found = paired(first, first - 0.1)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_cases_without_a_finite_score_are_left_out():
    found = paired([0.5, math.nan, math.inf, 0.7], [0.5, 0.1, 2.0, 0.7])
    assert found == Paired(2, 0.0, 0.0, 0.0, 1.0)
    few = paired([0.5, math.nan], [0.25, 0.1])
    assert (few.cases, few.mean) == (1, 0.25) and math.isnan(few.p) and math.isnan(few.low)
    assert math.isnan(paired([], []).mean)
