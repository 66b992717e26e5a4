import numpy as np
import pytest

from thirdaxis.metrics.froc import froc
from thirdaxis.metrics.froc_images import OneImage, threshold_at, worst_first

BOX, ELSEWHERE = [0.0, 0.0, 9.0, 9.0], [50.0, 50.0, 59.0, 59.0]
TRUTH = {
    "a": np.array([BOX]),
    "b": np.array([BOX, [100.0, 0.0, 109.0, 9.0]]),
    "c": np.zeros((0, 4)),
}
FOUND = {
    "a": (np.array([BOX, ELSEWHERE]), np.array([0.9, 0.3])),
    "b": (np.array([BOX, ELSEWHERE]), np.array([0.2, 0.8])),
    "c": (np.array([BOX, ELSEWHERE]), np.array([0.7, 0.6])),
}
IMAGES = [("a", "p", 1), ("b", "p", 2), ("c", "q", 0)]


@pytest.mark.parametrize(
    ("rate", "least"),
    [
        (0.0, np.nextafter(0.8, 1)),  # no alarm is allowed: the strongest is too many
        (1 / 3, np.nextafter(0.7, 1)),
        (1.0, np.nextafter(0.3, 1)),
        (4 / 3, 0.0),  # all four are allowed
    ],
)
def test_the_threshold_is_just_above_the_first_alarm_too_many(rate, least):
    assert threshold_at(froc(FOUND, TRUTH), rate) == least


def test_the_image_that_missed_most_comes_first_then_the_one_of_most_false_alarms():
    rows = worst_first(froc(FOUND, TRUTH), 0.25, IMAGES)
    assert rows == [
        OneImage("b", "p", 2, 2, 1, 0.8),
        OneImage("c", "q", 0, 0, 2, 0.7),
        OneImage("a", "p", 1, 0, 1, 0.3),
    ]


def test_scores_may_be_below_zero():
    found = {"a": (np.array([BOX]), np.array([-3.0]))}
    every = froc(found, {"a": np.array([BOX])})
    assert worst_first(every, threshold_at(every, 1.0), [("a", "p", 1)])[0].missed == 0
