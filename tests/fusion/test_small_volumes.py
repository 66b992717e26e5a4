"""Single small volumes, convolved as many pictures on a CPU, equal the same ones in a batch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

import thirdaxis
from thirdaxis.fusion.table import ON_CONVOLUTIONS

NOT_THIN = {"i3d"}  # K x K x K has no plane to be cut into


def layer(fusion, operator, kernel, stride, dilation, depth):
    torch.manual_seed(0)
    half = dilation * (kernel - 1) // 2
    conv = nn.Conv2d(8, 7, kernel, stride, half, dilation).double()
    return thirdaxis.convert(conv, operator(fusion, depth))


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 1, 2)])
@pytest.mark.parametrize("shape", [(6, 7, 9), (1, 8, 6), (20, 140, 5)])
def test_alone_as_in_a_batch(fusion, operator, told, kernel, stride, dilation, shape):
    """The last shape is too large to be cut, so that both ways are compared with a batch."""
    lifted = layer(fusion, operator, kernel, stride, dilation, shape[0])
    one = torch.randn(1, 8, *shape, dtype=torch.float64, requires_grad=True)
    two = torch.cat([one.detach(), torch.randn_like(one)]).requires_grad_()
    given = told(fusion, two)
    alone = lifted(one, **{name: value[:1] for name, value in given.items()})
    among = lifted(two, **given)[:1]
    torch.testing.assert_close(alone, among)
    towards = torch.randn_like(alone)
    names = list(lifted.parameters())
    ours = torch.autograd.grad(alone, (one, *names), towards)
    theirs = torch.autograd.grad(among, (two, *names), towards)
    torch.testing.assert_close(ours, (theirs[0][:1], *theirs[1:]))


def ran(call):
    """Names of torch's own operations in a call."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        call()
    return {event.key for event in profiler.key_averages()}


@pytest.mark.parametrize("fusion", sorted(set(ON_CONVOLUTIONS) - NOT_THIN))
def test_no_small_volume_is_left_to_slow_code(fusion, operator, told):
    """`conv3d` itself would take it, which shows that there is something to avoid."""
    lifted = layer(fusion, operator, 3, 1, 1, 6).float()
    x = torch.randn(1, 8, 6, 20, 20)
    slow = "aten::slow_conv3d_forward"
    weight = torch.randn(7, 8, 1, 3, 3)
    assert slow in ran(lambda: torch.conv3d(x, weight, padding=(0, 1, 1)))
    assert slow not in ran(lambda: lifted(x, **told(fusion, x)))


@pytest.mark.parametrize("shape", [(1, 5, 6), (4, 1, 1), (3, 1, 6), (1, 1, 1)])
@pytest.mark.parametrize("kernel,padding,dilation", [(3, 1, 1), (5, 2, 1), (3, 2, 2), (4, 2, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_taps_beyond_a_single_voxel_are_left_out_exactly(shape, kernel, padding, dilation, stride):
    """As a dense convolution of torch, all of whose taps run, its gradients included."""
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, kernel, stride, padding, dilation).double()
    lifted = thirdaxis.convert(conv, "i3d")
    x = torch.randn(2, 4, *shape, dtype=torch.float64, requires_grad=True)
    found = lifted(x)
    left = padding if kernel % 2 else padding - 1  # an even kernel has its odd slice behind
    padded = F.pad(x, [padding] * 4 + [left, padding])
    expected = F.conv3d(padded, lifted.weight, lifted.bias, stride, 0, dilation)
    expected = expected[:, :, : found.shape[2]]
    towards = torch.randn_like(found)
    torch.testing.assert_close(found, expected)
    names = (x, lifted.weight, lifted.bias)
    ours = torch.autograd.grad(found, names, towards)
    torch.testing.assert_close(ours, torch.autograd.grad(expected, names, towards))
