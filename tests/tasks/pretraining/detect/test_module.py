import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes

from thirdaxis.data.coco import MarkedPicture
from thirdaxis.tasks.pretraining.detect.module import on_picture, scored


@given(
    height=st.integers(20, 300), width=st.integers(20, 300), side=st.sampled_from([64, 128, 200])
)
def test_boxes_come_back_to_the_picture_they_were_resized_with(height, width, side):
    boxes = torch.tensor([[2.0, 3.0, 10.0, 17.0], [1.5, 0.0, width, height]])
    told = BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width))
    small = F.resize(told, None, max_size=side)
    answer = {"boxes": small.as_subclass(torch.Tensor), "scores": torch.tensor([0.9, 0.1])}
    answer["labels"] = torch.tensor([2, 1])
    found, scores, labels = on_picture(answer, small.canvas_size, (height, width))
    torch.testing.assert_close(found, boxes, atol=1e-2, rtol=1e-4)
    assert scores.tolist() == answer["scores"].tolist() and labels.tolist() == [2, 1]


def test_boxes_are_cut_at_the_picture_and_those_in_the_padding_go():
    answer = {
        "boxes": torch.tensor([[10.0, 10, 60, 40], [0, 33, 64, 60], [50, 0, 64, 32]]),
        "scores": torch.tensor([0.9, 0.8, 0.7]),
        "labels": torch.tensor([1, 2, 3]),
    }
    boxes, scores, labels = on_picture(answer, (32, 48), (64, 96))
    assert boxes.tolist() == [[20, 20, 96, 64]]
    assert labels.tolist() == [1]


def picture(name, boxes, labels, crowds):
    rows = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4).numpy()
    return MarkedPicture(
        name, (100, 100), rows, torch.tensor(labels).numpy(), torch.tensor(crowds).numpy()
    )


def test_pictures_that_were_not_seen_do_not_count_and_crowds_neither():
    one = picture("a", [[0, 0, 20, 20], [50, 50, 90, 90]], [1, 1], [False, True])
    other = picture("b", [[0, 0, 30, 30]], [2], [False])
    boxes = torch.tensor([[0.0, 0, 20, 20], [55, 55, 70, 70]])
    found = {"a": (boxes, torch.tensor([0.5, 0.9]), torch.tensor([1, 1]))}
    numbers, classes = scored(found, [one, other])
    assert numbers["ap"] == 1 and classes == {1: 1}
    alone = picture("a", one.boxes.tolist(), [1, 1], [False, False])
    assert scored(found, [alone])[0]["ap"] < 0.5
    none = torch.zeros(0)
    unfound = {**found, "b": (torch.zeros(0, 4), none, none.long())}
    assert scored(unfound, [one, other])[0]["ap"] == 0.5
