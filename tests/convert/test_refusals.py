"""What cannot be converted or trained says so in one line, with what to do."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import thirdaxis

PICTURE = torch.zeros(1, 3, 8, 8)


@torch.jit.script
def scripted_gate(x: torch.Tensor) -> torch.Tensor:
    return x * x.sigmoid()


def gate(x):
    return scripted_gate(x)


class Gated(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.conv, self.held = nn.Conv2d(3, 2, 3), scripted_gate if way == "held" else None
        self.way = way

    def gated(self, x):
        return self.held(x) if self.way == "held" else gate(x)

    def forward(self, x):
        return self.gated(self.conv(x))


@pytest.mark.parametrize("way", ["held", "named"])
def test_a_scripted_function_is_found(way):
    net = nn.Sequential(nn.Conv2d(3, 3, 1), Gated(way))
    for act in (thirdaxis.convert, lambda net: thirdaxis.check(net, PICTURE)):
        with pytest.raises(
            thirdaxis.UsageError, match="Gated '1' calls 'scripted_gate'.*without torch.jit.script"
        ):
            act(net)


@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net, PICTURE)])
def test_scripted_and_traced_networks_and_parts(make):
    whole = make(nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU()))
    with pytest.raises(thirdaxis.UsageError, match="the network is scripted.*convert .* before"):
        thirdaxis.convert(whole)
    with pytest.raises(thirdaxis.UsageError, match="part '1' is scripted or traced.*before"):
        thirdaxis.convert(nn.Sequential(nn.Conv2d(3, 3, 1), whole))


def test_a_lazy_network_has_to_run_first():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LazyConv2d(2, 3))
    with pytest.raises(thirdaxis.UsageError, match="part '1' is lazy.*run the 2D network once"):
        thirdaxis.convert(net)
    net(PICTURE)
    assert thirdaxis.convert(net)(PICTURE.unsqueeze(2)).shape == (1, 2, 1, 6, 6)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def doubled(self, x):
        return Double.apply(x)

    def forward(self, x):
        return checkpoint(self.doubled, self.conv(x), use_reentrant=True)


def test_a_handwritten_gradient_out_of_reach_is_named():
    net = thirdaxis.convert(Doubled())
    volume = torch.zeros(1, 3, 4, 8, 8)
    with pytest.raises(thirdaxis.ConversionError, match="use_reentrant=False"):
        net(volume)
    with torch.no_grad():
        assert net(volume).shape == (1, 2, 4, 6, 6)
