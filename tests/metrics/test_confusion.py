import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from thirdaxis.errors import InputError
from thirdaxis.metrics.confusion import Counts, accuracy, confusion_matrix, counts_of, mean_of

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@given(PAIRS)
@settings(max_examples=60)
def test_as_scikit_learn_has_it(pairs):
    truth, decided = torch.tensor(pairs).T
    matrix = confusion_matrix(decided, truth, 4)
    numbers = range(4)
    assert matrix.tolist() == metrics.confusion_matrix(truth, decided, labels=numbers).tolist()
    assert accuracy(matrix) == pytest.approx(metrics.accuracy_score(truth, decided))
    theirs = metrics.precision_recall_fscore_support(
        truth, decided, labels=list(numbers), zero_division=math.nan
    )
    for number, counts in enumerate(counts_of(matrix)):
        ours = (counts.precision, counts.sensitivity)
        assert ours == pytest.approx([column[number] for column in theirs[:2]], nan_ok=True)
        # scikit-learn calls F1 undefined also where only one of its two parts is.
        defined = counts.true_positive + counts.false_positive + counts.false_negative
        expected = metrics.f1_score(truth == number, decided == number, zero_division=0.0)
        assert counts.f1 == pytest.approx(expected if defined else math.nan, nan_ok=True)
        turned = metrics.recall_score(truth != number, decided != number, zero_division=math.nan)
        assert counts.specificity == pytest.approx(turned, nan_ok=True)


@given(PAIRS)
@settings(max_examples=40)
def test_counts_are_all_samples(pairs):
    truth, decided = torch.tensor(pairs).T
    for counts in counts_of(confusion_matrix(decided, truth, 4)):
        parts = (counts.true_positive, counts.false_positive)
        assert sum(parts) + counts.false_negative + counts.true_negative == len(pairs)


def test_shares_of_nothing_are_undefined():
    nothing = Counts(0, 0, 0, 3)
    assert math.isnan(nothing.sensitivity) and math.isnan(nothing.precision)
    assert math.isnan(nothing.f1) and nothing.specificity == 1
    assert mean_of([math.nan, 1.0, 0.0]) == 0.5 and math.isnan(mean_of([math.nan]))


def test_a_number_that_is_no_class_is_refused():
    with pytest.raises(InputError, match="from 0 to 1, not 2"):
        confusion_matrix(torch.tensor([0, 1]), torch.tensor([0, 2]), 2)
    with pytest.raises(InputError, match="differ in shape"):
        confusion_matrix(torch.tensor([0, 1]), torch.tensor([0]), 2)
