import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from thirdaxis.errors import InputError
from thirdaxis.metrics.calibration import calibration_error, decisions, reliability


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_of_classes_as_torchmetrics_has_it(classes):
    torch.manual_seed(0)
    probabilities = (2 * torch.randn(200, classes)).softmax(1)
    truth = torch.randint(classes, (200,))
    ours = calibration_error(*decisions(probabilities, truth))
    theirs = multiclass_calibration_error(probabilities, truth, classes, n_bins=15, norm="l1")
    assert ours == pytest.approx(float(theirs), abs=1e-6) and ours > 0.05


def test_of_a_label_as_torchmetrics_has_it():
    torch.manual_seed(0)
    probability, truth = torch.rand(300), torch.rand(300) < 0.3
    ours = calibration_error(probability, truth)
    theirs = binary_calibration_error(probability, truth.long(), n_bins=15, norm="l1")
    assert ours == pytest.approx(float(theirs), abs=1e-6) and ours > 0.05


def test_probabilities_that_are_true_have_no_error():
    confidence = torch.tensor([0.25] * 8 + [0.75] * 8)
    right = torch.tensor([1, 1, 0, 0, 0, 0, 0, 0] + [1, 1, 1, 1, 1, 1, 0, 0])
    assert calibration_error(confidence, right) == pytest.approx(0, abs=1e-7)
    assert calibration_error(confidence, 1 - right) == pytest.approx(0.5, abs=1e-7)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
@settings(max_examples=60)
def test_bins_hold_every_sample_within_their_width(pairs):
    confidence, right = (
        torch.tensor(column, dtype=torch.float64) for column in zip(*pairs, strict=True)
    )
    parts = reliability(confidence, right)
    assert sum(part.samples for part in parts) == len(pairs)
    assert sum(part.samples * part.confidence for part in parts) == pytest.approx(
        float(confidence.sum()), abs=1e-9
    )
    middles = np.array([part.confidence for part in parts])
    assert (np.diff(middles) > 0).all()
    assert 0 <= calibration_error(confidence, right) <= 1


def test_an_edge_belongs_to_the_bin_below_it():
    parts = reliability(torch.tensor([0.0, 0.5, 1.0]), torch.ones(3), bins=2)
    assert [part.samples for part in parts] == [2, 1]


def test_what_is_no_probability_is_refused():
    with pytest.raises(InputError, match="from 0 to 1"):
        reliability(torch.tensor([1.2]), torch.ones(1))
    with pytest.raises(InputError, match="from 0 to 1"):
        reliability(torch.tensor([math.nan]), torch.ones(1))
    with pytest.raises(InputError, match="differ in shape"):
        reliability(torch.tensor([0.2]), torch.ones(2))
    assert math.isnan(calibration_error(torch.zeros(0), torch.zeros(0)))
