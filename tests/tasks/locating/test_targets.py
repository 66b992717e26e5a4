"""Heat maps of boxes against the formula of a normal density, and boxes read off heat maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from thirdaxis.tasks.locating.targets import LEAST_SIGMA, box_around, gaussians

BOXES = np.array([[2.5, 1.0, 3.0, 6.5, 11.0, 9.0], [4.5, 6.0, 10.0, 7.5, 9.0, 22.0]])


def by_density(box, corner, size, share=0.25):
    """A normal density with its peak divided out."""
    middle, sides = (box[:3] + box[3:]) / 2, box[3:] - box[:3]
    spread = np.diag(np.maximum(share * sides, LEAST_SIGMA) ** 2)
    density = multivariate_normal(middle, spread)
    places = np.moveaxis(np.indices(size), 0, -1) + np.array(corner)
    return density.pdf(places) / density.pdf(middle)


@pytest.mark.parametrize("corner", [(0, 0, 0), (3, -2, 5)])
@pytest.mark.parametrize("share", [0.25, 0.1])
def test_each_box_has_a_gaussian_of_height_one_as_wide_as_the_box_along_each_axis(corner, share):
    size = (8, 12, 20)
    both = [by_density(box, corner, size, share) for box in BOXES]
    for joined, expected in (("sum", np.sum(both, 0)), ("max", np.max(both, 0))):
        heat = gaussians(BOXES, corner, size, share=share, joined=joined)
        assert heat.shape == (1, *size)
        np.testing.assert_allclose(heat[0].numpy(), expected, atol=1e-6)


def test_the_peak_is_the_box_s_centre_and_nothing_gives_nothing():
    heat = gaussians(BOXES[:1] + np.array([0.5, 0, 0] * 2), (0, 0, 0), (12, 12, 12))[0].numpy()
    assert np.unravel_index(heat.argmax(), heat.shape) == (5, 6, 6)
    assert heat.max() == 1
    assert not gaussians(np.zeros((0, 6)), (0, 0, 0), (4, 4, 4)).any()


def test_a_box_thinner_than_a_voxel_is_seen_between_voxels_too():
    heat = gaussians(np.array([[3.4, 0, 0, 3.6, 6, 6]]), (0, 0, 0), (8, 7, 7))
    assert heat.max() > 0.6


sides = st.tuples(*[st.floats(4.0, 10.0)] * 3)
middles = st.tuples(*[st.floats(11.0, 13.0)] * 3)


@given(middles, sides, st.floats(0.25, 0.35))
def test_a_box_is_read_off_its_own_gaussian(middle, size, share):
    box = np.array(
        [*(np.array(middle) - np.array(size) / 2), *(np.array(middle) + np.array(size) / 2)]
    )
    heat = gaussians(box[None], (0, 0, 0), (25, 25, 25), share=share)[0].numpy()
    peak = tuple(int(place) for place in np.unravel_index(heat.argmax(), heat.shape))
    # The peak's voxel is up to half a voxel off the centre, and so lower.
    wide = np.maximum(np.array(size), LEAST_SIGMA / share)
    found = box_around(heat, peak, share)
    assert np.abs((found[:3] + found[3:]) / 2 - middle).max() < 0.35
    assert (np.abs((found[3:] - found[:3]) / wide - 1) < 0.35).all()


def test_a_box_at_the_border_ends_there():
    heat = gaussians(np.array([[-3.0, 5, 5, 3.0, 9, 9]]), (0, 0, 0), (12, 15, 15))[0].numpy()
    found = box_around(heat, (0, 7, 7))
    assert found[0] == -0.5
    assert (found[3:] <= [11.5, 14.5, 14.5]).all()
