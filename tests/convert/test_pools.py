"""Pools on volumes: torch's own 3D pools where they have the same windows, else written out."""

import pytest
import torch
from torch import nn

import thirdaxis

pytestmark = pytest.mark.usefixtures("repeatable")


def windows(depth: int, kernel: int, stride: int, padding: int) -> list[range]:
    """The slices that each output slice takes in."""
    left = padding if 2 * padding == kernel - 1 else max(0, (kernel - stride) // 2)
    starts = [i * stride - left for i in range(-(-depth // stride))]
    return [range(max(0, s), min(depth, s + kernel)) for s in starts]


CASES = [(2, 2, 0), (3, 2, 1), (3, 2, 0), (3, 3, 1), (4, 4, 0), (5, 2, 2), (3, 1, 1), (2, 1, 0)]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 5, 8])
@pytest.mark.parametrize("kernel,stride,padding", CASES)
@pytest.mark.parametrize("kind", ["max", "mean"])
def test_pools_written_out(kind, kernel, stride, padding, depth, ceil_mode):
    pool = {"max": nn.MaxPool2d, "mean": nn.AvgPool2d}[kind](
        kernel, stride, padding, ceil_mode=ceil_mode
    )
    x = torch.randn(2, 3, depth, 9, 12)
    flat = torch.stack([pool(x[:, :, i]) for i in range(depth)], 2)
    parts = [flat[:, :, list(w)] for w in windows(depth, kernel, stride, padding)]
    expected = torch.stack([p.amax(2) if kind == "max" else p.mean(2) for p in parts], 2)
    torch.testing.assert_close(thirdaxis.convert(pool, "acs")(x), expected)


@pytest.mark.parametrize("depth", [1, 2, 5, 8])
@pytest.mark.parametrize("kernel,stride,padding", [(3, 2, 1), (5, 2, 2), (3, 3, 1), (3, 1, 1)])
def test_max_pools_padded_by_half_are_those_of_torch(kernel, stride, padding, depth):
    x = torch.randn(2, 3, depth, 9, 12)
    lifted = thirdaxis.convert(nn.MaxPool2d(kernel, stride, padding), "acs")(x)
    expected = nn.MaxPool3d(kernel, stride, padding)(x)
    torch.testing.assert_close(lifted, expected, rtol=0, atol=0)


@pytest.mark.parametrize("stride", [1, 2])
def test_pools_keep_slices_apart_where_depth_is_kept(stride):
    x = torch.randn(2, 3, 6, 9, 12)
    pool = nn.MaxPool2d(3, stride, 1)
    kept = thirdaxis.convert(pool, "slicewise", depth_stride=False)(x)
    torch.testing.assert_close(kept, torch.stack([pool(s) for s in x.unbind(2)], 2))


def test_pools_to_a_grid_take_depth_along():
    x = torch.randn(2, 3, 8, 9, 12)
    lifted = thirdaxis.convert(nn.AdaptiveAvgPool2d((4, 6)), "acs")(x)
    torch.testing.assert_close(lifted, nn.AdaptiveAvgPool3d((4, 4, 6))(x))
    whole = thirdaxis.convert(nn.AdaptiveMaxPool2d(1), "acs")(x)
    torch.testing.assert_close(whole, x.amax((2, 3, 4))[:, :, None, None])
    window = thirdaxis.convert(nn.AvgPool2d((9, 12)), "acs")(x)
    torch.testing.assert_close(window, x.mean((2, 3, 4))[:, :, None, None])
