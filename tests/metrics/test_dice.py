import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from thirdaxis.errors import InputError
from thirdaxis.metrics.dice import GlobalDice, dice, overlap


@st.composite
def label_pairs(draw, count=1):
    pairs = []
    for _ in range(count):
        shape = tuple(draw(st.integers(1, 5)) for _ in range(3))
        rng = np.random.default_rng(draw(st.integers(0, 10_000)))
        top = draw(st.integers(1, 4))
        pairs.append(tuple(torch.from_numpy(rng.integers(0, top, shape)) for _ in range(2)))
    return pairs


@given(label_pairs())
def test_dice_is_the_f1_score(pairs):
    ((prediction, truth),) = pairs
    scores = dice(prediction, truth, [0, 1, 2, 3])
    for value, score in scores.items():
        mine, its = (prediction == value).flatten(), (truth == value).flatten()
        if mine.any() or its.any():
            assert score == pytest.approx(f1_score(its, mine))
        else:
            assert math.isnan(score)


def test_empty_masks_are_written_out():
    nothing, something = torch.zeros(2, 2, 2, dtype=torch.int16), torch.ones(2, 2, 2).short()
    assert math.isnan(dice(nothing, nothing, [1])[1])
    assert dice(something, nothing, [1])[1] == 0
    assert dice(nothing, something, [1])[1] == 0
    assert dice(something, something, [1])[1] == 1


def test_half_an_overlap_is_half():
    prediction = torch.tensor([1, 1, 0, 0]).reshape(1, 1, 4)
    truth = torch.tensor([0, 1, 1, 0]).reshape(1, 1, 4)
    assert dice(prediction, truth, [1]) == {1: 0.5}
    assert overlap(prediction, truth, [1, 7]) == {1: (1, 4), 7: (0, 0)}


@given(label_pairs(count=3))
def test_global_dice_is_that_of_all_voxels_in_one_row(pairs):
    total, first, rest = GlobalDice([1, 2]), GlobalDice([1, 2]), GlobalDice([1, 2])
    for n, (prediction, truth) in enumerate(pairs):
        total.update(prediction, truth)
        (rest if n else first).update(prediction, truth)
    first.merge(rest)
    row = [torch.cat([pair[side].flatten() for pair in pairs]) for side in range(2)]
    expected = dice(row[0], row[1], [1, 2])
    assert total.compute() == pytest.approx(expected, nan_ok=True)
    assert first.compute() == pytest.approx(expected, nan_ok=True)


def test_a_global_dice_of_nothing_is_nan():
    assert math.isnan(GlobalDice([1]).compute()[1])


def test_counts_do_not_overflow_small_types():
    labels = torch.ones(70_000, dtype=torch.uint8)
    assert overlap(labels, labels, [1]) == {1: (70_000, 140_000)}


def test_maps_of_different_shapes_are_refused():
    with pytest.raises(InputError, match=r"\(1, 2, 3\) and truth \(3, 2, 1\)"):
        dice(torch.zeros(1, 2, 3), torch.zeros(3, 2, 1), [1])
