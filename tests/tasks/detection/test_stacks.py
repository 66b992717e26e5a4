import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.tasks.detection.stacks import depth_grid, mixed, mixes_around


@given(
    count=st.integers(1, 12),
    half=st.integers(0, 4),
    spacing=st.floats(0.4, 6),
    interval=st.one_of(st.none(), st.floats(0.5, 4)),
)
def test_stacks_are_linear_between_slices_and_still_beyond_the_ends(count, half, spacing, interval):
    """A series of its own slice numbers shows where each slice of a stack was taken."""
    series = torch.arange(count, dtype=torch.float64)[:, None, None]
    step = 1.0 if interval is None else interval / spacing
    for key, stack in enumerate(mixes_around(count, 2 * half + 1, spacing, interval)):
        found = mixed(series, stack).flatten().numpy()
        places = key + np.arange(-half, half + 1) * step
        # The two slices beside a place are moved to the last one each, then mixed.
        low, share = np.floor(places + 1e-9), places - np.floor(places + 1e-9)
        edge = count - 1
        expected = np.clip(low, 0, edge) * (1 - share) + np.clip(low + 1, 0, edge) * share
        assert found == pytest.approx(expected, abs=1e-4)


@given(
    count=st.integers(1, 30), spacing=st.floats(0.4, 6), interval=st.sampled_from([None, 1.0, 2.0])
)
def test_a_grid_goes_through_the_series_at_the_interval(count, spacing, interval):
    grid = depth_grid(count, spacing, interval)
    series = torch.arange(count, dtype=torch.float32)[:, None, None] * spacing
    places = mixed(series, grid.mixes).flatten().numpy()
    apart = spacing if interval is None else interval
    assert places == pytest.approx(np.arange(len(places)) * apart, abs=1e-3)
    assert (count - 1) * spacing - places[-1] < apart + 1e-3
    own = np.arange(count) * spacing
    nearest = np.abs(own[:, None] - places[None]).min(1)
    assert np.abs(own - places[grid.nearest]) == pytest.approx(nearest, abs=1e-3)
