import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thirdaxis.errors import InputError, UsageError
from thirdaxis.metrics.boxes import contains, iobb, iou
from thirdaxis.metrics.froc import RATES, froc, froc_intervals


def box(x, y, side=9):
    return [x, y, x + side, y + side]


def by_hand(found, truth, threshold=0.5):
    """(false alarms, hits) after each score, one detection after the other in plain Python."""

    def fit(a, b):
        wide = min(a[2], b[2]) - max(a[0], b[0]) + 1
        high = min(a[3], b[3]) - max(a[1], b[1]) + 1
        common = max(wide, 0) * max(high, 0)
        areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
        return common / (sum(areas) - common)

    every = [
        (score, name, one)
        for name, (boxes, scores) in found.items()
        for one, score in zip(boxes, scores, strict=True)
    ]
    every.sort(key=lambda entry: -entry[0])
    seen, alarms, hits = set(), 0, 0
    points = [(0, 0)]
    for number, (score, name, one) in enumerate(every):
        fits = [fit(one, other) for other in truth[name]]
        if not fits or max(fits) < threshold:
            alarms += 1
        for place, value in enumerate(fits):
            if value >= threshold and (name, place) not in seen:
                seen.add((name, place))
                hits += 1
        if number + 1 == len(every) or every[number + 1][0] != score:
            points.append((alarms, hits))
    return points


def read_off(points, images, lesions, rate):
    """Sensitivity at a rate: the last point not beyond it, and a line to the next."""
    before = [point for point in points if point[0] / images <= rate][-1]
    after = [point for point in points if point[0] / images > rate]
    if not after:
        return before[1] / lesions
    (a, h), (b, k) = before, after[0]
    return (h + (k - h) * (rate * images - a) / (b - a)) / lesions


@st.composite
def sets(draw):
    """A few images with small boxes, crowded so that fits and ties are common."""
    place = st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 5)] * 2)
    boxes = st.lists(place.map(lambda c: [c[0], c[1], c[0] + c[2], c[1] + c[3]]), max_size=5)
    found, truth = {}, {}
    for number in range(draw(st.integers(1, 4))):
        truth[str(number)] = draw(boxes)
        some = draw(boxes)
        scores = draw(st.lists(st.sampled_from([0.1, 0.4, 0.5, 0.9]), min_size=5, max_size=5))
        if draw(st.booleans()):
            found[str(number)] = (some, scores[: len(some)])
    return found, truth


@settings(max_examples=150)
@given(sets())
def test_all_sets_give_what_going_through_them_by_hand_gives(case):
    found, truth = case
    lesions = sum(map(len, truth.values()))
    scored = froc(found, truth)
    points = by_hand(found, truth)
    alarms, sensitivity = scored.curve()
    assert (scored.images, scored.lesions) == (len(truth), lesions)
    assert alarms[-1] == pytest.approx(points[-1][0] / len(truth))
    rates = [n / 8 for n in range(49)]
    if not lesions:
        assert np.isnan(sensitivity).all() and math.isnan(scored.mean)
        return
    every = {(a / len(truth), h / lesions) for a, h in points}
    assert {*zip(alarms.tolist(), sensitivity.tolist(), strict=True)} <= every
    wanted = [read_off(points, len(truth), lesions, rate) for rate in rates]
    assert scored.sensitivity_at(rates) == pytest.approx(wanted)
    assert scored.mean == pytest.approx(
        sum(read_off(points, len(truth), lesions, rate) for rate in (0.5, 1, 2, 4)) / 4
    )


@settings(max_examples=60)
@given(sets(), st.randoms(use_true_random=False))
def test_order_and_scale_of_scores_say_nothing(case, random):
    found, truth = case
    stirred = {}
    for name, (boxes, scores) in found.items():
        pairs = [*zip(boxes, scores, strict=True)]
        random.shuffle(pairs)
        stirred[name] = ([one for one, _ in pairs], [score**3 for _, score in pairs])
    for first, second in zip(froc(found, truth).curve(), froc(stirred, truth).curve(), strict=True):
        np.testing.assert_array_equal(first, second)


@settings(max_examples=60)
@given(sets(), st.data())
def test_a_part_is_what_those_images_alone_give(case, data):
    found, truth = case
    names = data.draw(st.lists(st.sampled_from([*truth]), min_size=1, unique=True))
    alone = froc(
        {name: found[name] for name in names if name in found},
        {name: truth[name] for name in names},
    )
    part = froc(found, truth).part(names)
    assert (part.names, part.images, part.lesions) == (tuple(names), len(names), alone.lesions)
    for first, second in zip(part.curve(), alone.curve(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_perfect_detections_find_all_without_an_alarm():
    truth = {"a": [box(0, 0), box(30, 0)], "b": [box(5, 5)], "c": []}
    found = {name: (boxes, [0.3] * len(boxes)) for name, boxes in truth.items()}
    scored = froc(found, truth)
    assert scored.sensitivity_at([0.0, 0.5, 16.0]).tolist() == [1, 1, 1] and scored.mean == 1


def test_what_hits_twice_is_neither_hit_nor_alarm():
    truth = {"a": [box(0, 0)], "b": [box(0, 0)]}
    scored = froc({"a": ([box(0, 0), box(1, 0), box(50, 50)], [0.9, 0.8, 0.7])}, truth)
    assert scored.curve()[0].tolist() == [0, 0, 0.5]
    assert scored.curve()[1].tolist() == [0, 0.5, 0.5]


def test_one_box_may_find_two_lesions():
    truth = {"a": [[0, 0, 9, 9], [0, 0, 9, 8]]}
    assert froc({"a": ([[0, 0, 9, 9]], [0.5])}, truth).sensitivity_at([0]) == 1


def test_half_an_overlap_is_a_fit():
    truth = {"a": [[0, 0, 9, 9]]}
    assert froc({"a": ([[0, 0, 4, 9]], [0.5])}, truth).sensitivity_at([0]) == 1
    assert froc({"a": ([[0, 0, 3.99, 9]], [0.5])}, truth).sensitivity_at([0]) == 0


def test_a_set_without_detections_finds_nothing():
    scored = froc({}, {"a": [box(0, 0)], "b": []})
    assert scored.mean == 0 and scored.sensitivity_at().tolist() == [0.0] * 6
    assert scored.curve()[0].tolist() == [0]


def test_the_last_sensitivity_holds_beyond_the_last_alarm():
    truth = {"a": [box(0, 0), box(40, 0)]}
    scored = froc({"a": ([box(0, 0), box(80, 0), box(90, 90)], [0.9, 0.8, 0.7])}, truth)
    assert scored.sensitivity_at([2, 16]).tolist() == [0.5, 0.5]


def test_other_rules_can_be_given():
    truth = {"a": [[0, 0, 19, 19]]}
    small = {"a": ([[5, 5, 9, 9]], [0.5])}
    assert froc(small, truth, overlap=iou).mean == 0
    assert froc(small, truth, overlap=iobb).mean == 1
    volume = {"v": [[0, 0, 0, 4, 4, 4], [6, 6, 6, 9, 9, 9]], "w": []}
    peaks = {"v": ([[4, 4, 4], [5, 5, 5]], [0.9, 0.8]), "w": ([[0, 0, 0]], [0.7])}
    scored = froc(peaks, volume, overlap=contains)
    assert scored.curve()[0].tolist() == [0, 0, 1]
    assert scored.curve()[1].tolist() == [0, 0.5, 0.5]


def test_lesions_of_a_size_count_on_the_images_that_have_them():
    truth = {"a": [box(0, 0), box(40, 0, 29)], "b": [box(0, 0)], "c": [box(0, 0, 29)]}
    found = {
        "a": ([box(0, 0), box(40, 0, 29), box(100, 100)], [0.9, 0.8, 0.7]),
        "c": ([box(60, 60)], [0.6]),
    }
    small = froc(found, truth).of_lesions([True, False, True, False])
    assert small.names == ("a", "b") and small.lesions == 2
    # The large one of a is no alarm, c is out.
    assert small.curve()[0].tolist() == [0, 0, 0.5]
    assert small.curve()[1].tolist() == [0, 0.5, 0.5]


def test_tensors_are_taken_too():
    found = {"a": (torch.tensor([box(0.0, 0.0)]), torch.tensor([0.5]))}
    assert froc(found, {"a": torch.tensor([box(0.0, 0.0)]), "b": torch.zeros(0, 4)}).mean == 1


def many(images, detections, seed=0):
    """A set in which scores tell hits from alarms a little."""
    random = np.random.default_rng(seed)
    found, truth = {}, {}
    for number in range(images):
        corners = random.uniform(0, 400, (int(random.integers(1, 4)), 2))
        truth[str(number)] = np.hstack([corners, corners + random.uniform(20, 60, corners.shape)])
        other = random.uniform(0, 450, (detections - len(corners), 2))
        boxes = np.vstack([truth[str(number)], np.hstack([other, other + 30])])
        scores = random.uniform(0, 1, detections)
        scores[: len(corners)] += 0.3
        found[str(number)] = (boxes, scores)
    return found, truth


def test_intervals_draw_patients_with_all_their_images():
    found, truth = many(60, 8)
    scored = froc(found, truth)
    alone = froc_intervals(scored, {name: name for name in truth}, draws=200)
    whole = froc_intervals(scored, {name: int(name) // 20 for name in truth}, draws=200)
    single = froc_intervals(scored, dict.fromkeys(truth, "one"), draws=20)
    assert alone.mean[0] < scored.mean < alone.mean[1]
    assert alone.at[1.0][0] < scored.sensitivity_at([1.0])[0] < alone.at[1.0][1]
    assert set(alone.at) == set(RATES)
    assert whole != alone
    # One patient is drawn whole each time: nothing varies.
    assert single.mean == pytest.approx((scored.mean, scored.mean))


def test_an_interval_is_that_of_sets_drawn_and_matched_again():
    found, truth = many(12, 6)
    patients = {name: int(name) // 2 for name in truth}
    ours = froc_intervals(froc(found, truth), patients, draws=60, seed=5)
    random = np.random.default_rng(5)
    means = []
    for _ in range(60):
        names = [n for p in random.integers(6, size=6) for n in (str(2 * p), str(2 * p + 1))]
        copies = {f"{place}": name for place, name in enumerate(names)}
        again = froc(
            {copy: found[name] for copy, name in copies.items()},
            {copy: truth[name] for copy, name in copies.items()},
        )
        means.append(again.mean)
    assert ours.mean == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_five_thousand_images_take_seconds():
    found, truth = many(5000, 50)
    began = time.process_time()
    scored = froc(found, truth)
    scored.sensitivity_at()
    assert time.process_time() - began < 5
    began = time.process_time()
    froc_intervals(scored, {name: int(name) // 2 for name in truth}, draws=20)
    assert time.process_time() - began < 3


def test_what_cannot_be_matched_is_told():
    truth = {"a": [box(0, 0)]}
    with pytest.raises(InputError, match="'b', which is no image"):
        froc({"b": ([], [])}, truth)
    with pytest.raises(InputError, match="a: 2 scores for 1 detections"):
        froc({"a": ([box(0, 0)], [0.1, 0.2])}, truth)
    with pytest.raises(InputError, match="finite"):
        froc({"a": ([box(0, 0)], [math.nan])}, truth)
    with pytest.raises(InputError, match=r"\(K, 4\)"):
        froc({"a": ([[1, 2, 3]], [0.1])}, truth)
    with pytest.raises(InputError, match="at least one image"):
        froc({}, {})
    with pytest.raises(UsageError, match="threshold=0"):
        froc({}, truth, threshold=0)
    scored = froc({}, truth)
    with pytest.raises(InputError, match="'x' is none"):
        scored.part(["x"])
    with pytest.raises(InputError, match="none is chosen"):
        scored.part([])
    with pytest.raises(InputError, match="2 choices for 1"):
        scored.of_lesions([True, False])
    with pytest.raises(InputError, match="none is chosen"):
        scored.of_lesions([False])
    with pytest.raises(InputError, match="no patient is known for the image 'a'"):
        froc_intervals(scored, {})
