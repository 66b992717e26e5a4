import math

import pytest
import torch
from scipy.stats import spearmanr
from sklearn import metrics
from torch.nn.functional import one_hot

from thirdaxis.errors import InputError
from thirdaxis.metrics.classify import class_table, score, score_intervals


@pytest.fixture
def binary() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    truth = (torch.rand(70) < 0.3).long()
    return (torch.randn(70, 2) + one_hot(truth, 2)).softmax(1), truth


@pytest.fixture
def several() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    truth = torch.randint(3, (80,))
    return (torch.randn(80, 3) + one_hot(truth, 3)).softmax(1), truth


def test_of_two_classes_the_second_is_the_positive(binary):
    answers, truth = binary
    decided = answers.argmax(1)
    found = score(answers, truth, "classes")
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(truth, answers[:, 1]))
    assert found["sensitivity"] == pytest.approx(metrics.recall_score(truth, decided))
    assert found["specificity"] == pytest.approx(metrics.recall_score(1 - truth, 1 - decided))
    assert found["precision"] == pytest.approx(metrics.precision_score(truth, decided))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, decided))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, decided))


def test_of_several_classes_it_is_the_mean_over_them(several):
    answers, truth = several
    decided = answers.argmax(1)
    found = score(answers, truth, "classes")
    theirs = metrics.roc_auc_score(truth, answers, multi_class="ovr")
    assert found["auc"] == pytest.approx(theirs, abs=1e-6)
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, decided, average="macro"))
    assert found["sensitivity"] == pytest.approx(metrics.balanced_accuracy_score(truth, decided))
    table = class_table(answers, truth, "classes", ("a", "b", "c"))
    assert sum(row["samples"] for row in table.values()) == 80
    assert sum(row["auc"] for row in table.values()) / 3 == pytest.approx(found["auc"])


def test_labels_are_scored_one_by_one():
    torch.manual_seed(0)
    truth = (torch.rand(60, 3) < torch.tensor([0.2, 0.5, 0.7])).long()
    answers = (torch.randn(60, 3) + truth).sigmoid()
    found = score(answers, truth, "labels")
    expected = metrics.roc_auc_score(truth, answers, average="macro")
    assert found["auc"] == pytest.approx(expected, abs=1e-6)
    decided = answers >= 0.5
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, decided, average="macro"))
    assert found["accuracy"] == pytest.approx(float((decided == truth).double().mean()))
    table = class_table(answers, truth, "labels", ("a", "b", "c"))
    assert [row["samples"] for row in table.values()] == truth.sum(0).tolist()


def test_grades_are_scored_as_numbers():
    torch.manual_seed(0)
    truth = torch.randint(1, 6, (60,)).double()
    answers = truth + torch.randn(60)
    found = score(answers, truth, "grade")
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, answers))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, answers))
    assert found["spearman"] == pytest.approx(spearmanr(answers, truth)[0])
    cuts = [metrics.roc_auc_score(truth > cut, answers) for cut in (1, 2, 3, 4)]
    assert found["auc"] == pytest.approx(sum(cuts) / 4)
    assert found["accuracy"] == pytest.approx(float((answers.round() == truth).double().mean()))
    assert math.isnan(score(torch.ones(4), torch.arange(4.0), "grade")["spearman"])


def test_an_interval_holds_its_score(binary):
    answers, truth = binary
    found = score(answers, truth, "classes")
    ends = score_intervals(answers, truth, "classes", draws=100)
    by_case = score_intervals(
        answers, truth, "classes", cases=[n // 2 for n in range(70)], draws=100
    )
    assert set(ends) == set(found) == set(by_case)
    for name in ("auc", "accuracy", "f1", "sensitivity"):
        for low, high in (ends[name], by_case[name]):
            assert low <= found[name] <= high and low < high


@pytest.mark.parametrize(
    ("answers", "truth", "kind"),
    [
        ((4, 2), (3,), "classes"),
        ((4,), (4,), "classes"),
        ((4, 2), (4,), "labels"),
        ((4, 1), (4,), "grade"),
        ((0, 2), (0,), "classes"),
    ],
)
def test_what_does_not_belong_together_is_refused(answers, truth, kind):
    with pytest.raises(InputError):
        score(torch.rand(answers), torch.zeros(truth).long(), kind)
