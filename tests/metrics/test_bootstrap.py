import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from thirdaxis.errors import InputError, UsageError
from thirdaxis.metrics.bootstrap import bootstrap

VALUES = np.random.default_rng(0).gamma(2, 3, 60)


def test_the_mean_has_scipys_interval():
    ours = bootstrap(lambda chosen: {"mean": VALUES[chosen].mean()}, 60, draws=4000)["mean"]
    theirs = stats.bootstrap(
        (VALUES,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.12)


def test_one_seed_gives_one_interval():
    first, again, other = (
        bootstrap(lambda chosen: {"x": VALUES[chosen].mean()}, 60, draws=50, seed=seed)["x"]
        for seed in (3, 3, 4)
    )
    assert first == again != other


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20))
@settings(max_examples=30)
def test_strata_keep_their_sizes_and_cases_stay_whole(groups):
    def by_stratum(chosen):
        assert sorted(groups[number] for number in chosen) == sorted(groups)
        return {"n": len(chosen)}

    def by_case(chosen):
        drawn = [groups[number] for number in chosen]
        for group in set(groups):
            assert drawn.count(group) % groups.count(group) == 0
        return {"n": len(chosen)}

    size = len(groups)
    same = bootstrap(by_stratum, size, strata=groups, draws=5)
    assert same == {"n": (size, size)}
    bootstrap(by_case, size, cases=groups, draws=5)


def test_cases_widen_what_samples_repeat():
    repeated, patients = np.repeat(VALUES, 5), np.repeat(np.arange(60), 5)
    alone, whole = (
        bootstrap(lambda chosen: {"x": repeated[chosen].mean()}, 300, cases=cases, draws=500)["x"]
        for cases in (None, patients.tolist())
    )
    assert whole[1] - whole[0] > 1.8 * (alone[1] - alone[0])


def test_draws_without_a_value_are_left_out():
    found = bootstrap(lambda chosen: {"x": math.nan if 0 in chosen else 1.0}, 3, draws=40)
    assert found == {"x": (1.0, 1.0)}
    nothing = bootstrap(lambda chosen: {"x": math.nan}, 3, draws=4)["x"]
    assert all(math.isnan(end) for end in nothing)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(UsageError, match="not by both"):
        bootstrap(lambda chosen: {}, 2, strata=[0, 1], cases=[0, 1])
    with pytest.raises(UsageError, match="draws=0"):
        bootstrap(lambda chosen: {}, 2, draws=0)
    with pytest.raises(InputError, match="3 strata for 2 samples"):
        bootstrap(lambda chosen: {}, 2, strata=[0, 1, 1])
    with pytest.raises(InputError, match="at least one"):
        bootstrap(lambda chosen: {}, 0)


def test_strata_are_drawn_again_each_by_itself():
    halves = [number % 2 for number in range(60)]
    both = bootstrap(lambda chosen: {"x": VALUES[chosen].mean()}, 60, strata=halves, draws=2000)
    parts = [VALUES[half::2] for half in (0, 1)]
    error = np.sqrt(sum(part.var() / len(part) for part in parts)) / 2
    assert both["x"] == pytest.approx(VALUES.mean() + error * np.array([-1.96, 1.96]), abs=0.12)
