"""FROC of points in boxes of three dimensions, against the slowest way to count it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.metrics.boxes import contains
from thirdaxis.metrics.froc import froc

RATES = (0.01, 0.05, 0.25, 0.5, 1.0, 2.0, 4.0)
place = st.tuples(*[st.integers(0, 5)] * 3)
point = st.tuples(place, st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
box = st.tuples(place, st.tuples(*[st.integers(1, 3)] * 3))
volumes = st.lists(
    st.tuples(st.lists(point, max_size=6), st.lists(box, max_size=3)), min_size=1, max_size=4
).filter(lambda every: any(boxes for _, boxes in every))


def inside(where, one):
    """Whether a point lies in a box, axis by axis."""
    start, size = one
    return all(a - 0.5 <= p <= a - 0.5 + n for p, a, n in zip(where, start, size, strict=True))


def slowly(every, rates):
    """For each score taken as threshold, lesions with a point and points without a lesion."""
    scores = sorted({score for points, _ in every for _, score in points}, reverse=True)
    lesions = sum(len(boxes) for _, boxes in every)
    alarms, found = [0.0], [0.0]
    for least in scores:
        false = hits = 0
        for points, boxes in every:
            loud = [where for where, score in points if score >= least]
            false += sum(not any(inside(where, one) for one in boxes) for where in loud)
            hits += sum(any(inside(where, one) for where in loud) for one in boxes)
        alarms.append(false / len(every))
        found.append(hits / lesions)
    return np.interp(rates, alarms, found)  # of one abscissa the last, highest one


@given(volumes)
def test_sensitivities_are_those_of_counting_at_each_threshold(every):
    found = {
        str(number): ([where for where, _ in points], [score for _, score in points])
        for number, (points, _) in enumerate(every)
        if points
    }
    truth = {
        str(number): np.reshape(
            [[*(np.array(a) - 0.5), *(np.array(a) - 0.5 + n)] for a, n in boxes], (-1, 6)
        )
        for number, (_, boxes) in enumerate(every)
    }
    scored = froc(found, truth, overlap=contains)
    np.testing.assert_allclose(scored.sensitivity_at(RATES), slowly(every, RATES), atol=1e-12)


def test_a_box_counts_once_and_a_second_point_in_it_is_no_false_positive():
    truth = {"a": [[0, 0, 0, 9, 9, 9]], "b": []}
    found = {"a": ([[1, 1, 1], [8, 8, 8], [1, 1, 10]], [0.9, 0.8, 0.7])}
    scored = froc(found, truth, overlap=contains)
    assert scored.curve()[0].tolist()[-1] == 0.5
    assert scored.sensitivity_at((0.01,)).tolist() == [1.0]
