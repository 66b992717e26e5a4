import pytest
import torch
import torch.nn.functional as F
from torch import nn

from thirdaxis.tasks.classification.module import ClassifyModule, class_weights
from thirdaxis.tasks.classification.plan import ClassifyPlan, classify_plan_from
from thirdaxis.tasks.classification.settings import ClassifySettings


def make(kind: str, counts: tuple[int, ...], **told: object) -> ClassifyModule:
    names = ("a", "b", "c")[: len(counts)]
    plan = ClassifyPlan(kind, names, counts, 1, (4, 4, 4), mean=3.0, spread=2.0)
    columns = names if kind == "labels" else ("label",)
    settings = ClassifySettings(data="t.csv", kind=kind, label_columns=columns, **told)
    return ClassifyModule(nn.Identity(), settings, plan, 10, training=20)


def test_rare_classes_weigh_more():
    module = make("classes", (15, 4, 1))
    assert module.class_weights.tolist() == pytest.approx([20 / 45, 20 / 12, 20 / 3])
    assert float((class_weights(module.plan) * torch.tensor([15, 4, 1])).sum()) == pytest.approx(20)
    logits, truth = torch.randn(6, 3), torch.tensor([0, 0, 0, 1, 1, 2])
    each = -logits.log_softmax(1)[torch.arange(6), truth]
    weights = module.class_weights[truth]
    torch.testing.assert_close(module.loss(logits, truth), (each * weights).sum() / weights.sum())
    plain = make("classes", (15, 4, 1), balance="none")
    torch.testing.assert_close(plain.loss(logits, truth), each.mean())


def test_rare_labels_weigh_more():
    module = make("labels", (5, 10))
    assert module.class_weights.tolist() == [3, 1]
    logits, truth = torch.randn(4, 2), torch.tensor([[1, 0], [0, 0], [1, 1], [0, 1]])
    right = F.logsigmoid(logits) * truth * torch.tensor([3.0, 1.0])
    expected = -(right + F.logsigmoid(-logits) * (1 - truth)).mean()
    torch.testing.assert_close(module.loss(logits, truth), expected)


@pytest.mark.parametrize("name", ["mse", "smooth_l1"])
def test_grades_are_learnt_in_their_deviations(name):
    module = make("grade", (20,), grade_loss=name)
    logits, truth = torch.tensor([[0.5], [-1.0]]), torch.tensor([5.0, 3.0])
    gap = torch.tensor([-0.5, -1.0])
    expected = (gap**2).mean() if name == "mse" else torch.tensor([0.125, 0.5]).mean()
    torch.testing.assert_close(module.loss(logits, truth), expected)
    torch.testing.assert_close(module.plan.answers(logits), torch.tensor([4.0, 1.0]))


def test_answers_are_probabilities():
    logits = torch.randn(5, 3)
    classes, labels = make("classes", (1, 1, 1)).plan, make("labels", (1, 1, 1)).plan
    torch.testing.assert_close(classes.answers(logits).sum(1), torch.ones(5))
    torch.testing.assert_close(labels.answers(logits), 1 / (1 + torch.exp(-logits)))


def test_labels_become_numbers_and_the_plan_survives_its_file():
    plan = make("classes", (3, 2)).plan
    assert plan.truth([("b",), ("a",)]).tolist() == [1, 0]
    assert make("labels", (3, 2)).plan.truth([("0", "1")]).tolist() == [[0, 1]]
    assert make("grade", (3,)).plan.truth([("2.5",)]).tolist() == [2.5]
    assert classify_plan_from(plan.plain()) == plan
