import pytest
import torch
from torch import nn

import thirdaxis
from thirdaxis.tasks.cost import cost_of, smallest_patch


def on_meta(make, fusion="slicewise"):
    with torch.device("meta"):
        return thirdaxis.convert(make(), fusion)


def test_a_convolution_counted_by_hand():
    net = on_meta(lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1)))
    cost = cost_of(net, (3, 1, 4, 5, 6), "adam")
    assert cost.parameters == 2 * 9 + 2
    assert cost.macs == 2 * 9 * 4 * 5 * 6
    assert cost.kept == 4 * 3 * 4 * 5 * 6  # the batch, for the kernel's gradient
    assert cost.held == 4 * 20 * 4  # weight, gradient, two moments
    assert cost_of(net, (3, 1, 4, 5, 6), "sgd").held == 4 * 20 * 3
    assert cost.answer == (3, 2, 4, 5, 6)
    assert str(cost).startswith("0.00 M parameters, 0.00 G MACs a sample, about 0.0 GiB")


@pytest.mark.parametrize(("fusion", "taps"), [("acs", 9), ("i3d", 27)])
def test_kernels_count_as_many_taps_as_they_have(fusion, taps):
    net = on_meta(lambda: nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, bias=False)), fusion)
    assert cost_of(net, (1, 1, 8, 8, 8), "adamw").macs == 3 * taps * 8**3


class AtLeast(nn.Module):
    """Takes no picture smaller than 16 pixels a side."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 16, padding=8)

    def forward(self, image):
        if image.shape[-1] < 16:
            raise RuntimeError("too small")
        return self.conv(image)[..., :-1, :-1]


def test_the_smallest_patch_is_the_first_that_goes_through():
    net = on_meta(AtLeast)
    assert smallest_patch(net, 1, (3, 64, 64)) == (3, 16, 16)
    assert smallest_patch(on_meta(lambda: nn.Conv2d(1, 1, 1)), 1, (48, 48, 48)) == (8, 8, 8)
