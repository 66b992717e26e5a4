import itertools
import math

import numpy as np
import pytest

from thirdaxis.metrics.paired import Paired, paired, paired_draws


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


def test_of_a_mean_drawn_cases_give_the_interval_of_the_paired_differences():
    random = np.random.default_rng(1)
    cases = np.repeat(np.arange(60), 2)
    first = random.normal(0, 1, 120)
    second = first - 0.3 + random.normal(0, 0.5, 120)
    found = paired_draws(
        lambda some: float(first[some].mean()),
        lambda some: float(second[some].mean()),
        cases.tolist(),
        draws=2000,
    )
    by_case = (first - second).reshape(60, 2).mean(1)
    half = 1.96 * by_case.std(ddof=1) / math.sqrt(60)
    assert found.cases == 60 and found.mean == pytest.approx(by_case.mean())
    assert found.low == pytest.approx(by_case.mean() - half, abs=0.02)
    assert found.high == pytest.approx(by_case.mean() + half, abs=0.02)
    assert found.p == 1 / 2000


def test_the_same_scores_do_not_differ_however_cases_are_drawn():
    def mean(some):
        return float(np.arange(8.0)[some].mean())

    assert paired_draws(mean, mean, list("aabbccdd")) == Paired(4, 0.0, 0.0, 0.0, 1.0)
    assert math.isnan(paired_draws(mean, mean, ["a"] * 8).p)
