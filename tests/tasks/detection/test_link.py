import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.errors import UsageError
from thirdaxis.tasks.detection.link import Linking, contents, link, shared


def ball(radius: float, spacing: tuple[float, float, float], centre: tuple[float, float, float]):
    """Slices and boxes of a ball in a raster, in the slices that show it at half its width."""
    slices, boxes = [], []
    for d in range(int((centre[0] + radius) / spacing[0]) + 2):
        inside = radius**2 - (d * spacing[0] - centre[0]) ** 2
        if inside < (radius / 2) ** 2:
            continue
        grid = [np.arange(0, centre[n] + radius + 9, spacing[n]) for n in (1, 2)]
        far = (grid[0][:, None] - centre[1]) ** 2 + (grid[1][None] - centre[2]) ** 2
        rows, columns = np.nonzero(far <= inside)
        slices.append(d)
        boxes.append([columns.min(), rows.min(), columns.max(), rows.max()])
    return np.array(slices), np.array(boxes, float)


steps = st.floats(0.5, 1.0)


@given(radius=st.floats(6, 14), plane=steps, depth=st.floats(0.5, 3.0), shift=st.floats(0, 1))
def test_a_ball_is_one_lesion_with_its_extent(radius, plane, depth, shift):
    centre = (radius + 3 + shift, radius + 5, radius + 4)
    slices, boxes = ball(radius, (depth, plane, plane), centre)
    scores = np.linspace(0.6, 0.9, len(slices))
    (found,) = link(slices, boxes, scores, depth, Linking())
    assert sorted(slices[found]) == list(slices) and list(slices[found]) == list(slices)
    wide = boxes[found, 2].max() - boxes[found, 0].min() + 1
    assert 2 * radius - 2 * plane - 0.5 * depth <= wide * plane <= 2 * radius + plane
    deep = (np.ptp(slices[found]) + 1) * depth
    assert abs(deep - 2 * radius * np.sqrt(0.75)) <= 1.01 * depth


@given(
    seed=st.integers(0, 2**32 - 1),
    side=st.booleans(),
    depth=st.floats(0.5, 3.0),
)
def test_two_separate_balls_stay_two(seed, side, depth):
    radius = 9.0
    first = ball(radius, (depth, 1, 1), (14, 14, 14))
    apart = (0, 0, 2 * radius + 2) if side else (2 * radius + 10, 0, 0)
    second = ball(radius, (depth, 1, 1), tuple(14 + one for one in apart))
    slices = np.concatenate([first[0], second[0]])
    boxes = np.concatenate([first[1], second[1]])
    random = np.random.default_rng(seed)
    scores = random.uniform(0.5, 1, len(slices))
    groups = link(slices, boxes, scores, depth, Linking())
    whose = np.repeat([0, 1], [len(first[0]), len(second[0])])
    assert sorted({tuple(np.unique(whose[group])) for group in groups}) == [(0,), (1,)]
    assert len(groups) == 2


found_boxes = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(0, 12),
        st.integers(0, 12),
        st.integers(4, 9),
        st.integers(4, 9),
        st.sampled_from([0.05, 0.3, 0.6, 0.8]),
    ),
    min_size=1,
    max_size=14,
)


@given(rows=found_boxes, random=st.randoms(use_true_random=False))
def test_the_order_of_boxes_does_not_matter(rows, random):
    def told(these):
        table = np.array(these, float)
        boxes = np.concatenate([table[:, 1:3], table[:, 1:3] + table[:, 3:5]], 1)
        groups = link(table[:, 0].astype(int), boxes, table[:, 5], 1.0, Linking(gap=1))
        # Equal boxes may stand for each other: compare what they are, not where they stood.
        return sorted(sorted(these[place] for place in group) for group in groups)

    other = list(rows)
    random.shuffle(other)
    assert told(other) == told(rows)


@given(rows=found_boxes)
def test_a_lesion_has_one_box_a_slice_and_a_box_one_lesion(rows):
    table = np.array(rows, float)
    boxes = np.concatenate([table[:, 1:3], table[:, 1:3] + table[:, 3:5]], 1)
    how = Linking(gap=1)
    groups = link(table[:, 0].astype(int), boxes, table[:, 5], 1.0, how)
    every = [place for group in groups for place in group]
    assert len(every) == len(set(every))
    best = [table[group, 5].max() for group in groups]
    assert best == sorted(best, reverse=True) and all(score >= how.score for score in best)
    for group in groups:
        steps = np.diff(table[group, 0])
        assert (steps >= 1).all() and (steps <= 2).all()
        assert (table[group, 5] >= how.member).all()


SQUARE = [10.0, 10.0, 19.0, 19.0]


@pytest.mark.parametrize(("gap", "lesions"), [(0.0, 2), (1.9, 2), (2.0, 1)])
def test_a_gap_in_mm_may_be_spanned(gap, lesions):
    slices, boxes = np.array([3, 5]), np.array([SQUARE, SQUARE])
    assert len(link(slices, boxes, np.array([0.9, 0.8]), 2.0, Linking(gap=gap))) == lesions


def test_a_weak_box_belongs_to_a_lesion_and_is_none_alone():
    boxes, scores = np.array([SQUARE] * 3), np.array([0.2, 0.9, 0.05])
    (found,) = link(np.array([1, 2, 3]), boxes, scores, 1.0, Linking())
    assert list(found) == [0, 1]
    assert link(np.array([1]), boxes[:1], scores[:1], 1.0, Linking()) == []
    assert link(np.zeros(0, int), np.zeros((0, 4)), np.zeros(0), 1.0, Linking()) == []


def test_of_two_boxes_the_one_that_overlaps_more_goes_on():
    boxes = np.array([SQUARE, [12.0, 10, 21, 19], [10.0, 10, 19, 20]])
    how = Linking(score=0.5)
    groups = link(np.array([0, 1, 1]), boxes, np.array([0.9, 0.8, 0.6]), 1.0, how)
    assert [0, 2] in [list(group) for group in groups]


def test_a_lesion_inside_a_stronger_one_is_left_out():
    boxes = np.array([[0.0, 0, 29, 29], [10.0, 10, 19, 19]])
    groups = link(np.array([4, 4]), boxes, np.array([0.9, 0.8]), 1.0, Linking())
    assert [list(group) for group in groups] == [[0]]


def test_shared_and_contents_count_pixels():
    random = np.random.default_rng(0)
    low = random.integers(0, 6, (5, 2))
    boxes = np.concatenate([low, low + random.integers(0, 6, (5, 2))], 1)
    painted = np.zeros((5, 12, 12), bool)
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        painted[number, y1 : y2 + 1, x1 : x2 + 1] = True
    assert (contents(boxes) == painted.sum((1, 2))).all()
    both = (painted[:, None] & painted[None]).sum((2, 3))
    assert (shared(boxes, boxes) == both).all() and both.max() > 0


@pytest.mark.parametrize(
    "told", [{"overlap": 0}, {"gap": float("nan")}, {"score": 0.1, "member": 0.2}, {"score": 2}]
)
def test_impossible_settings_are_refused(told):
    with pytest.raises(UsageError):
        Linking(**told)
