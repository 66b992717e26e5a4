import pytest
import torch
from torch import Tensor, nn

from thirdaxis.data.lesions.key_slice import KeySlice
from thirdaxis.tasks.detection.module import DetectModule
from thirdaxis.tasks.detection.network import make_lesion_detector
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.settings_files import make_settings


class Answers(nn.Module):
    """Says what it is told to, by the number in the first pixel."""

    def __init__(self, found: dict[int, list[list[float]]]) -> None:
        super().__init__()
        self.found = found

    def forward(self, image: Tensor, thickness: Tensor, targets: object = None) -> object:
        if targets is not None:
            return {"class": image.mean(), "box": thickness.sum()}
        rows = [torch.tensor(self.found[int(one[0, 0, 0, 0])]).reshape(-1, 5) for one in image]
        return [{"boxes": row[:, :4], "scores": row[:, 4]} for row in rows]


def module_of(net, slices=(), **values):
    told = make_settings(
        {"task": "detect", "data": "d", "size": 64, "most": 3, "masks": False, **values}, "test"
    )
    module = DetectModule(net, told, DetectPlan.of(told), 1, slices)
    module.log = lambda *args, **kwargs: None
    module.all_gather = lambda rows: rows
    return module


def test_the_loss_is_the_sum_of_all():
    module = module_of(Answers({}))
    batch = {"image": torch.full((2, 1, 3, 4, 4), 2.0), "thickness": torch.tensor([1.0, 5.0])}
    assert float(module.training_step(batch | {"targets": [{}, {}]}, 0)) == 8.0


def test_slices_that_devices_share_count_once():
    """The mean of sensitivities at 0.5, 1, 2 and 4 false positives, by hand.

    Four slices of 128 pixels, seen at 64, with a lesion each; two are found, with one false
    positive above both and none between: 0 until 0.25 a slice, one half from there on. Were the
    slice that both devices have counted twice, its false positive would count twice.
    """
    box = torch.tensor([[20.0, 20, 59, 59]])
    seen = [9.5, 9.5, 29.5, 29.5]
    slices = [KeySlice(f"s/{n}", "p", box, (128, 128), (2.0, 1.0, 1.0)) for n in range(4)]
    false = [40.0, 40, 50, 50]
    found = {0: [[*false, 0.9]], 1: [[*seen, 0.8]], 2: [[*seen, 0.7], [*false, 0.2]], 3: []}
    module = module_of(Answers(found), slices)
    image = torch.zeros(5, 1, 3, 4, 4)
    numbers = torch.tensor([0, 1, 2, 3, 0])
    image[:, 0, 0, 0, 0] = numbers
    batch = {"image": image, "thickness": torch.ones(5), "number": numbers}
    module.validation_step(batch, 0)
    module.on_validation_epoch_end()
    assert module.epoch_score == pytest.approx(0.5)
    assert module.rows == []
    none = module_of(Answers(found | {1: [], 2: []}), slices)
    none.validation_step(batch, 0)
    none.on_validation_epoch_end()
    assert none.epoch_score == 0.0


@pytest.mark.parametrize("fusion", ["alignshift", "a3d"])
def test_batches_without_any_lesion_train_with_gradients_that_are_finite(fusion, small_detector):
    told = make_settings({**small_detector, "data": "d", "fusion": fusion}, "test")
    net = make_lesion_detector(told, DetectPlan.of(told)).net
    module = DetectModule(net, told, DetectPlan.of(told), 1)
    module.log = lambda *args, **kwargs: None
    empty = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 64, 64, dtype=torch.uint8),
    }
    thickness = torch.tensor([5.0, torch.nan])
    batch = {"image": torch.rand(2, 1, 3, 64, 64), "thickness": thickness, "targets": [empty] * 2}
    loss = module.training_step(batch, 0)
    loss.backward()
    assert loss.isfinite() and loss.item() > 0
    grads = [weight.grad for weight in net.parameters() if weight.grad is not None]
    assert grads and all(grad.isfinite().all() for grad in grads)
