import pytest
import torch

from thirdaxis.data.classes import as_classes, regroup
from thirdaxis.errors import UsageError

LITS = {0: "background", 1: "liver", 2: "tumour", 3: "vessel"}


def test_merged_values_are_one_class_and_others_background():
    classes = regroup({"organ": (1, 2)}, LITS, "data")
    assert classes.table() == {0: "background", 1: "organ"}
    found = as_classes(torch.tensor([[0, 1], [2, 3]]), classes.of_value)
    assert found.tolist() == [[0, 1], [1, 0]]


def test_classes_come_in_the_order_told():
    classes = regroup({"tumour": (2,), "liver": (1,)}, None, "data")
    assert classes.table() == {0: "background", 1: "tumour", 2: "liver"}
    assert as_classes(torch.tensor([0, 1, 2, 9]), classes.of_value).tolist() == [0, 2, 1, 0]


def test_without_groups_values_stay():
    labels = torch.tensor([0, 5])
    assert as_classes(labels, None) is labels


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "each class needs label values"),
        ({"liver": ()}, "each class needs label values"),
        ({"background": (1,)}, "background is what no class names"),
        ({"liver": (0, 1)}, "label values start at 1"),
        ({"liver": (1, 2), "tumour": (2,)}, "belongs to one class"),
        ({"liver": (1, 7)}, r"data has no label 7, it has 1 \(liver\), 2 \(tumour\), 3"),
    ],
)
def test_groups_that_make_no_sense(told, said):
    with pytest.raises(UsageError, match=said):
        regroup(told, LITS, "data")
