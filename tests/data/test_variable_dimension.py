import pytest
import torch
from PIL import Image as pil
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes, Image, Mask

from thirdaxis.data.variable_dimension import VariableDimension
from thirdaxis.errors import InputError, UsageError


def coloured(channels=3):
    """Channel c is c everywhere."""
    return torch.arange(float(channels)).view(-1, 1, 1).expand(channels, 4, 5)


@pytest.mark.parametrize("kind", [torch.as_tensor, Image])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_colours_become_slices_of_one_channel(kind, channels):
    volume, label = VariableDimension()(kind(coloured(channels)), 7)
    assert type(volume) is torch.Tensor and label == 7
    assert volume.shape == (1, channels, 4, 5)
    assert volume[0, :, 2, 3].tolist() == list(range(channels))


def test_a_batch_keeps_its_first_axis():
    batch = torch.stack([coloured(), coloured() + 10])
    volumes = VariableDimension()(batch)
    assert volumes.shape == (2, 1, 3, 4, 5)
    assert volumes[1, 0, :, 0, 0].tolist() == [10, 11, 12]


def test_boxes_masks_and_labels_stay_what_they_are():
    boxes = BoundingBoxes([[0, 0, 2, 2]], format="XYXY", canvas_size=(4, 5))
    sample = {"boxes": boxes, "masks": Mask(torch.ones(1, 4, 5)), "labels": torch.tensor([1])}
    volume, told = VariableDimension(shuffle=True)(Image(coloured()), sample)
    assert volume.shape == (1, 3, 4, 5)
    assert all(told[name] is sample[name] for name in sample)


def test_later_transforms_for_pictures_leave_the_slices_alone():
    sample = v2.Compose([VariableDimension(), v2.RandomHorizontalFlip(p=1)])(Image(coloured()))
    assert sample.shape == (1, 3, 4, 5)


def test_shuffling_draws_every_order_and_changes_nothing_else():
    torch.manual_seed(0)
    seen = {
        tuple(VariableDimension(shuffle=True)(Image(coloured()))[0, :, 0, 0].tolist())
        for _ in range(60)
    }
    assert len(seen) == 6
    assert all(sorted(order) == [0, 1, 2] for order in seen)


def test_what_is_no_tensor_or_no_picture_is_refused():
    with pytest.raises(InputError, match="ToImage"):
        VariableDimension()(pil.new("RGB", (4, 5)))
    with pytest.raises(UsageError, match=r"\(4, 5\)"):
        VariableDimension()(torch.zeros(4, 5))
