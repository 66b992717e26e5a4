import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thirdaxis.data.lesions.recist import extent, recist
from thirdaxis.errors import InputError


def ellipse(long, short, turn, side=61):
    """A soft-edged ellipse in the middle: half of its height lies on its edge."""
    axis = np.arange(side) - side // 2
    x, y = axis[None], axis[:, None]
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return np.clip((1 - np.hypot(along / long, across / short)) * short + 0.5, 0, 1)


@settings(max_examples=40)
@given(st.floats(8, 25), st.floats(0.4, 0.9), st.floats(0, 3.1), st.floats(0.5, 800))
def test_an_ellipse_has_its_axes(long, share, turn, height):
    ends = recist(ellipse(long, share * long, turn) * height).reshape(2, 2, 2)
    sides = ends[:, 1] - ends[:, 0]
    lengths = np.linalg.norm(sides, axis=1)
    assert lengths == pytest.approx([2 * long, 2 * share * long], abs=0.8)
    assert abs(sides[0] @ sides[1]) < 1e-6 * lengths.prod()  # a right angle
    direction = sides[0] / lengths[0]
    assert abs(direction @ [np.cos(turn), np.sin(turn)]) > 0.95
    assert ends.mean(axis=(0, 1)) == pytest.approx([30, 30], abs=1.5)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_any_blob_is_measured_as_going_through_all_pairs_of_its_pixels_does(seed):
    random = np.random.default_rng(seed)
    picture = np.zeros((24, 24))
    for row, column in random.integers(8, 16, (3, 2)):
        picture[row - 3 : row + 4, column - 3 : column + 4] = 1
    ends = recist(picture).reshape(2, 2, 2)
    places = np.argwhere(picture)
    # An outline at half height runs half a pixel outside of the pixels' centres.
    longest = max(np.linalg.norm(a - b) for a in places for b in places)
    assert longest <= np.linalg.norm(ends[0, 1] - ends[0, 0]) <= longest + 1.01
    side = ends[0, 1] - ends[0, 0]
    across = np.array([-side[1], side[0]]) / np.linalg.norm(side)
    widest = np.ptp(places[:, ::-1] @ across)
    assert np.linalg.norm(ends[1, 1] - ends[1, 0]) <= widest + 1.5


def test_x_comes_first_and_the_largest_part_counts():
    picture = np.zeros((20, 40))
    picture[5:8, 10:31] = 3
    picture[15, 2] = 3
    ends = recist(picture)
    box = extent(ends, 2)
    assert box == pytest.approx([7.5, 2.5, 32.5, 9.5], abs=0.6)


def test_a_thing_that_is_cut_by_the_border_is_measured_to_it():
    picture = np.zeros((12, 12))
    picture[:4, 2:9] = 1
    assert recist(picture).reshape(4, 2)[:, 1].min() >= -0.5


@pytest.mark.parametrize("picture", [np.zeros((5, 5)), np.zeros((0, 0)), -np.ones((4, 4))])
def test_nothing_cannot_be_measured(picture):
    with pytest.raises(InputError, match="nothing stands out"):
        recist(picture)
