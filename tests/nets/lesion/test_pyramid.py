import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.nets.lesion.pyramid import Folding, Pyramid, Reduction, windows


@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 3))
def test_windows_are_those_of_a_loop(volumes, depth, more):
    volume = torch.arange(volumes * 2 * (depth + more) * 6.0).view(volumes, 2, -1, 2, 3)
    expected = [one[:, i : i + depth] for one in volume for i in range(more + 1)]
    torch.testing.assert_close(windows(volume, depth), torch.stack(expected), rtol=0, atol=0)


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_a_reduction_is_a_convolution_that_slides(depth, double_precision):
    reduction = Reduction(6, depth)
    volume = torch.randn(2, 6, depth + 2, 4, 5)
    dense = F.conv3d(volume, reduction.weight)
    assert dense.shape == (2, 6, 3, 4, 5)
    expected = torch.stack([dense[n, :, i] for n in range(2) for i in range(3)])
    torch.testing.assert_close(reduction(volume), expected)
    each = reduction(windows(volume, depth))
    torch.testing.assert_close(each, expected)


def test_a_reduction_starts_as_the_papers_code_does():
    torch.manual_seed(0)
    reduction = Reduction(64, 7)
    assert reduction.bias is None and reduction.weight.shape == (64, 64, 7, 1, 1)
    assert reduction.weight.std().item() == pytest.approx((2 / (64 * 7)) ** 0.5, rel=0.02)
    assert abs(reduction.weight.mean().item()) < 1e-3


def test_folding_takes_slices_for_pictures():
    volume = torch.randn(2, 3, 4, 5, 6)
    expected = torch.stack([volume[n, :, i] for n in range(2) for i in range(4)])
    torch.testing.assert_close(Folding()(volume), expected, rtol=0, atol=0)


def test_the_pyramid_against_numpy(double_precision):
    pyramid = Pyramid((3, 4, 5), 2)
    for lateral in pyramid.laterals:
        torch.nn.init.normal_(lateral.bias)
    levels = [torch.randn(2, c, 8 // s, 12 // s) for c, s in ((3, 1), (4, 2), (5, 4))]
    found = 0.0
    for lateral, level in zip(pyramid.laterals, levels, strict=True):
        weight = lateral.weight.detach().numpy()[:, :, 0, 0]
        here = np.einsum("oc,nchw->nohw", weight, level.numpy())
        here = here + lateral.bias.detach().numpy()[:, None, None]
        times = 8 // here.shape[2]
        found = found + here.repeat(times, 2).repeat(times, 3)
    torch.testing.assert_close(pyramid(levels).detach(), torch.from_numpy(found))
