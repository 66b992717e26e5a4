import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.errors import InputError
from thirdaxis.metrics.boxes import contains, iobb, iou

corner = st.integers(0, 12)
boxes = st.lists(
    st.tuples(corner, corner, corner, corner).map(
        lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
    ),
    min_size=1,
    max_size=4,
)


def pixels(box):
    """The pixels of a box with whole corners, both ends included."""
    return {(x, y) for x in range(box[0], box[2] + 1) for y in range(box[1], box[3] + 1)}


@given(boxes, boxes)
def test_boxes_of_whole_pixels_are_counted_pixel_by_pixel(found, truth):
    over_union, over_found = (
        rule(np.array(found, float), np.array(truth, float)) for rule in (iou, iobb)
    )
    for k, one in enumerate(found):
        for n, other in enumerate(truth):
            common = len(pixels(one) & pixels(other))
            assert over_union[k, n] == pytest.approx(common / len(pixels(one) | pixels(other)))
            assert over_found[k, n] == pytest.approx(common / len(pixels(one)))


def test_a_side_counts_its_last_pixel():
    # 10 and 5 pixels wide: half; without the last pixel it would be 4 / 9.
    assert iou(np.array([[0.0, 0, 9, 9]]), np.array([[0.0, 0, 4, 9]])) == 0.5


@given(st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_points_lie_in_boxes_of_any_dimension(dimensions, seed):
    random = np.random.default_rng(seed)
    points = random.integers(0, 5, (6, dimensions)).astype(float)
    ends = np.sort(random.integers(0, 5, (2, 4, dimensions)), axis=0)
    found = contains(points, np.concatenate(ends, axis=1).astype(float))
    for k, point in enumerate(points):
        for n in range(4):
            within = all(ends[0, n, a] <= point[a] <= ends[1, n, a] for a in range(dimensions))
            assert found[k, n] == within


def test_other_shapes_are_told():
    four, points = np.zeros((2, 4)), np.zeros((2, 3))
    for rule in (iou, iobb):
        with pytest.raises(InputError, match=r"\(K, 4\).*\(2, 3\)"):
            rule(four, points)
    with pytest.raises(InputError, match=r"\(L, 2n\)"):
        contains(points, four)
