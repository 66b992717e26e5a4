"""Peaks by a maximum filter against a look around every voxel."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thirdaxis.tasks.locating.peaks import peaks, window_voxels

windows = st.tuples(*[st.sampled_from([1, 3, 5])] * 3)


def slowly(heat, window, least):
    """Every voxel that no voxel around it surpasses, in order of height, then place."""
    reach = [size // 2 for size in window]
    found = []
    for place in itertools.product(*map(range, heat.shape)):
        around = tuple(slice(max(p - r, 0), p + r + 1) for p, r in zip(place, reach, strict=True))
        if heat[place] >= least and (heat[around] <= heat[place]).all():
            found.append((-heat[place], place))
    kept = []
    for _, place in sorted(found):
        if not any(
            all(abs(a - b) <= r for a, b, r in zip(place, other, reach, strict=True))
            for other in kept
        ):
            kept.append(place)
    return kept


@given(arrays(np.int64, (4, 5, 6), elements=st.integers(0, 9)), windows)
def test_peaks_are_what_nothing_around_surpasses(values, window):
    heat = values.astype(np.float32) / 10
    places, scores = peaks(heat, window, least=0.2, most=200)
    assert list(map(tuple, places.tolist())) == slowly(heat, window, 0.2)
    assert scores.tolist() == [heat[tuple(place)] for place in places]


def test_the_highest_are_kept_where_there_are_too_many():
    heat = np.zeros((1, 1, 12), np.float32)
    heat[0, 0, ::3] = 0.2, 0.9, 0.1, 0.5
    places, scores = peaks(heat, (1, 1, 3), least=0.05, most=2)
    assert places.tolist() == [[0, 0, 3], [0, 0, 9]]
    np.testing.assert_allclose(scores, [0.9, 0.5])
    assert peaks(heat, (1, 1, 3), least=2.0)[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("window", "spacing", "voxels"),
    [
        ((4.0, 4.0, 4.0), (1.0, 1.0, 1.0), (5, 5, 5)),
        ((3.0, 5.0, 5.0), (1.0, 0.085, 0.085), (3, 59, 59)),
        ((3.0, 5.0, 5.0), (5.0, 0.7, 2.5), (1, 7, 3)),
        ((0.6, 0.6, 0.6), (0.1, 0.1, 0.1), (7, 7, 7)),
    ],
)
def test_windows_are_lengths_and_not_voxels(window, spacing, voxels):
    assert window_voxels(window, spacing) == voxels
