import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from thirdaxis.metrics.independent import independent, mean_interval

VALUES = st.lists(st.integers(-40, 40).map(lambda n: n / 8), min_size=2, max_size=6)


def sample(mean, sd, runs=5):
    """Values whose mean and deviation over n are exactly these."""
    values = np.arange(runs) - (runs - 1) / 2
    return mean + sd * values / values.std()


@pytest.mark.parametrize(
    ("ours", "other", "published"),
    [
        # SVD-Net, Tables III and V: five runs each, mean, deviation, p against "Ours". The printed
        # p follow from the printed deviations where these are over n, not n - 1.
        ((75.95, 0.16), (75.65, 0.22), 0.06),
        ((75.95, 0.16), (75.62, 0.17), 0.02),
        ((96.07, 0.23), (95.68, 0.14), 0.02),
        ((96.07, 0.23), (95.64, 0.37), 0.08),
        ((96.07, 0.23), (95.59, 0.33), 0.04),
        ((96.07, 0.23), (95.82, 0.22), 0.15),
    ],
)
def test_published_p_values_come_out(ours, other, published):
    # The deviations are printed with two digits, so the p are within half a digit or so.
    assert independent(sample(*ours), sample(*other)).p == pytest.approx(published, abs=0.011)


def t_tail(t, freedom):
    """Two-sided tail of Student's density, integrated."""

    def density(x):
        half = (freedom + 1) / 2
        scale = special.gammaln(half) - special.gammaln(freedom / 2)
        return math.exp(scale) / math.sqrt(freedom * math.pi) * (1 + x * x / freedom) ** -half

    return 2 * integrate.quad(density, abs(t), math.inf)[0]


@pytest.mark.parametrize("welch", [False, True])
def test_statistic_freedom_and_p_by_hand(welch):
    one, other = np.array([0.91, 0.93, 0.9, 0.96]), np.array([0.88, 0.8, 0.86])
    found = independent(one, other, welch=welch)
    parts = [values.var(ddof=1) / len(values) for values in (one, other)]
    if welch:
        error, freedom = (
            math.sqrt(sum(parts)),
            sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 2),
        )
    else:
        pooled = (3 * one.var(ddof=1) + 2 * other.var(ddof=1)) / 5
        error, freedom = math.sqrt(pooled * (1 / 4 + 1 / 3)), 5
    apart = one.mean() - other.mean()
    assert found.difference == pytest.approx(apart)
    assert found.t == pytest.approx(apart / error)
    assert found.freedom == pytest.approx(freedom)
    assert found.p == pytest.approx(t_tail(apart / error, freedom), rel=1e-6)
    half = (found.high - found.low) / 2
    assert t_tail(half / error, freedom) == pytest.approx(0.05, rel=1e-6)
    assert (found.high + found.low) / 2 == pytest.approx(apart)


@given(VALUES, VALUES, st.booleans())
def test_turned_round_the_sign_turns_and_p_stays(first, second, welch):
    found, turned = independent(first, second, welch=welch), independent(second, first, welch=welch)
    assert turned.difference == pytest.approx(-found.difference)
    assert turned.p == pytest.approx(found.p, nan_ok=True)
    assert 0 <= found.p <= 1


def test_one_run_has_no_test_and_no_interval():
    found = independent([0.5], [0.25, 0.75])
    assert found.difference == 0 and math.isnan(found.p) and math.isnan(found.low)
    assert all(map(math.isnan, mean_interval([0.5])))
    assert math.isnan(independent([], [0.5]).difference)


def test_runs_that_do_not_vary():
    assert independent([0.5, 0.5], [0.5, 0.5]).p == 1
    apart = independent([0.25, 0.25], [0.5, 0.5])
    assert apart.p == 0 and apart.t == -math.inf and apart.low == apart.high == -0.25


def test_the_interval_of_a_mean_by_the_printed_table_of_t():
    # t of 4 degrees of freedom at 97.5 % is 2.776 in every printed table.
    values = [0.8, 0.82, 0.84, 0.86, 0.88]
    half = 2.776 * np.std(values, ddof=1) / math.sqrt(5)
    assert mean_interval(values) == pytest.approx((0.84 - half, 0.84 + half), abs=1e-4)
