import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.data.lesions.stack import interval_for, slice_weights, stack_slices
from thirdaxis.errors import UsageError

ODD = st.sampled_from([1, 3, 5, 7, 9])
LENGTH = st.floats(0.2, 8, allow_nan=False)


@given(depth=ODD, spacing=LENGTH, interval=LENGTH, seed=st.integers(0, 99))
def test_a_stack_is_the_piecewise_linear_curve_at_its_places(depth, spacing, interval, seed):
    reach = math.ceil(depth // 2 * interval / spacing) + 1
    numbers = np.arange(-reach, reach + 1)
    values = np.random.default_rng(seed).normal(0, 100, len(numbers))
    places = (np.arange(depth) - depth // 2) * interval
    offsets, weights = slice_weights(depth, spacing, interval)
    found = weights @ values[np.array(offsets) + reach]
    np.testing.assert_allclose(found, np.interp(places, numbers * spacing, values), atol=1e-2)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert (weights.any(axis=0)).all()  # nothing is loaded in vain


@pytest.mark.parametrize(("spacing", "interval"), [(1.0, 2.0), (0.4, 2.0), (2.0, 2.0), (0.1, 0.3)])
def test_whole_steps_take_slices_as_they_are(spacing, interval):
    offsets, weights = slice_weights(5, spacing, interval)
    step = round(interval / spacing)
    assert offsets == [-2 * step, -step, 0, step, 2 * step]
    np.testing.assert_array_equal(weights, np.eye(5))


def test_legacy_keeps_the_weights_of_the_first_step():
    # 5 mm: places 0.4, 0.8 and 1.2; 4 mm: 0.5, 1 and 1.5, of which the whole one is exact.
    offsets, weights = slice_weights(7, 5.0, 2.0, legacy=True)
    assert offsets == [-2, -1, 0, 1, 2]
    expected = [[0.4, 0.6, 0], [0, 0.4, 0.6], [0, 0.4, 0.6], [0, 0, 1]]
    np.testing.assert_allclose(weights[:4, :3], expected, atol=1e-6)
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])
    exact = slice_weights(7, 5.0, 2.0)[1]
    np.testing.assert_allclose(exact[:2, :3], [[0.2, 0.8, 0], [0, 0.8, 0.2]], atol=1e-6)
    np.testing.assert_array_equal(exact[2:5], weights[2:5])
    for one, other in zip(
        slice_weights(7, 4.0, 2.0), slice_weights(7, 4.0, 2.0, legacy=True), strict=True
    ):
        np.testing.assert_allclose(one, other)


def test_legacy_repeats_the_first_published_loader():
    """As 3DCE's loader does it: slices at floor and ceil, weights of the first step."""
    for spacing in (0.7, 1.0, 1.25, 1.5, 2.5, 3.0, 3.75, 5.0, 7.5):
        rel = 2.0 / spacing
        share = rel - np.floor(rel)
        wanted = np.zeros((4, 20))
        wanted[0, 0] = 1
        for p in range(3):
            place = rel * (p + 1)
            if share == 0:
                wanted[p + 1, int(place)] += 1
            else:
                wanted[p + 1, int(np.ceil(place - 1e-9))] += share
                wanted[p + 1, int(np.floor(place + 1e-9))] += 1 - share
        offsets, weights = slice_weights(7, spacing, 2.0, legacy=True)
        found = np.zeros((4, 20))
        for column, offset in enumerate(offsets):
            if offset >= 0:
                found[:, offset] += weights[3:, column]
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("spacing", [math.nan, 0.0, -5.0, math.inf])
def test_an_unknown_interval_repeats_the_key_slice(spacing):
    offsets, weights = slice_weights(5, spacing, 2.0)
    assert offsets == [0]
    np.testing.assert_array_equal(weights, np.ones((5, 1)))


def test_native_takes_the_neighbours_whatever_their_distance():
    for spacing in (0.6, 5.0, math.nan):
        offsets, weights = slice_weights(3, spacing, None)
        assert offsets == [-1, 0, 1]
        np.testing.assert_array_equal(weights, np.eye(3))


@pytest.mark.parametrize(
    ("spacing", "wanted", "asked"),
    [
        (5.0, "native", None),
        (2.0, "native", None),
        (1.0, "native", 2.0),
        (math.nan, "native", 2.0),
        (5.0, 2.0, 2.0),
        (1.0, 3.0, 3.0),
    ],
)
def test_alignshift_keeps_series_of_2_mm_and_more(spacing, wanted, asked):
    assert interval_for(spacing, wanted) == asked


@pytest.mark.parametrize("depth", [0, 2, 4, -1])
def test_an_even_depth_is_refused(depth):
    with pytest.raises(UsageError, match=f"odd number of slices.*not {depth}"):
        slice_weights(depth, 1.0, 2.0)


@pytest.mark.parametrize("interval", [0.0, -2.0, math.nan, math.inf])
def test_an_interval_is_a_length(interval):
    with pytest.raises(UsageError, match="interval is a positive length in mm"):
        slice_weights(3, 1.0, interval)


def test_missing_slices_are_stood_in_for_towards_the_key_slice_and_each_is_loaded_once():
    loaded = []

    def load(number):
        loaded.append(number)
        return np.full((1, 2), number, np.int16)

    offsets, weights = slice_weights(7, 1.0, 2.0)  # 4, 6, 8, 10, 12, 14, 16
    found = stack_slices(load, {6, 7, 10, 13}.__contains__, 10, offsets, weights)
    assert found.dtype == np.float32 and found.shape == (7, 1, 2)
    assert found[:, 0, 0].tolist() == [6, 6, 10, 10, 10, 13, 13]
    assert sorted(loaded) == [6, 10, 13]
