import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from thirdaxis.errors import InputError
from thirdaxis.metrics.auc import class_aucs, roc_auc, roc_curve


@pytest.mark.parametrize("levels", [3, 1000], ids=["many ties", "few ties"])
def test_as_scikit_learn_has_it(levels):
    torch.manual_seed(0)
    scores = torch.randint(levels, (4, 5, 60)) / 7
    truth = torch.rand(4, 5, 60) < 0.2 + 0.3 * (scores > scores.mean())
    expected = roc_auc_score(truth.flatten(), scores.flatten())
    assert 0.55 < expected < 0.8
    assert roc_auc(scores, truth) == pytest.approx(expected, abs=1e-12)
    assert roc_auc(scores, truth.to(torch.uint8)) == roc_auc(scores, truth)
    assert roc_auc(-scores, truth) == pytest.approx(1 - expected, abs=1e-12)


def test_equal_scores_are_a_coin_toss():
    assert roc_auc(torch.zeros(7), torch.arange(7) < 2) == 0.5


@pytest.mark.parametrize("truth", [0, 1])
def test_of_one_kind_alone_there_is_none(truth):
    assert math.isnan(roc_auc(torch.rand(5), torch.full((5,), truth)))


def test_shapes_that_differ_are_refused():
    with pytest.raises(InputError, match=r"\(3,\).*\(4,\)"):
        roc_auc(torch.rand(3), torch.ones(4))


def test_each_class_against_the_rest_as_scikit_learn_has_it():
    torch.manual_seed(0)
    truth = torch.randint(4, (90,))
    scores = (torch.randn(90, 4) + torch.nn.functional.one_hot(truth, 4)).softmax(1).double()
    ours = class_aucs(scores, torch.nn.functional.one_hot(truth, 4))
    theirs = roc_auc_score(truth, scores, multi_class="ovr", average=None)
    assert ours == pytest.approx(theirs.tolist(), abs=1e-12)


def test_the_curve_is_scikit_learns_and_its_area_is_the_auc():
    torch.manual_seed(0)
    scores, truth = torch.randint(12, (80,)) / 7, torch.rand(80) < 0.4
    ours = roc_curve(scores, truth)
    theirs = sklearn_roc_curve(truth, scores, drop_intermediate=False)[:2]
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, torch.from_numpy(its))
    assert float(torch.trapezoid(ours[1], ours[0])) == pytest.approx(roc_auc(scores, truth))


def test_a_curve_needs_both_kinds():
    with pytest.raises(InputError, match="positives and negatives"):
        roc_curve(torch.rand(5), torch.ones(5))


@pytest.mark.parametrize("shapes", [((4, 2), (4, 3)), ((4,), (4,))])
def test_class_scores_of_other_shapes_are_refused(shapes):
    with pytest.raises(InputError):
        class_aucs(torch.rand(shapes[0]), torch.ones(shapes[1]))
