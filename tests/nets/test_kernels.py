import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import thirdaxis
from thirdaxis.errors import InputError, UsageError
from thirdaxis.nets.kernels import energy_by_tap, first_kernels, outside_mean
from thirdaxis.nets.resnet3d import resnet, resnet3d


def test_inflated_kernels_have_no_differences_and_random_ones_most():
    torch.manual_seed(0)
    inflated = thirdaxis.convert(resnet(18, classes=2), "i3d")
    assert outside_mean(first_kernels(inflated.state_dict())) == pytest.approx(0, abs=1e-12)
    drawn = first_kernels(resnet3d(18, classes=2).state_dict())
    assert drawn.shape == (64, 1, 7, 7, 7)
    assert outside_mean(drawn) == pytest.approx(6 / 7, abs=0.01)
    assert outside_mean(drawn, [1, 2, 3, 4, 5]) == pytest.approx(4 / 5, abs=0.02)
    deep = first_kernels(resnet3d(18, classes=2, stem="v1c").state_dict())
    assert deep.shape == (32, 1, 3, 3, 3)


@given(st.floats(-3, 3), st.floats(-3, 3).filter(lambda d: abs(d) > 0.01))
def test_a_mean_and_a_difference_add_up(mean, difference):
    # Two taps m + d and m - d: the mean has 2 m², what is outside 2 d².
    kernel = torch.tensor([mean + difference, mean - difference]).reshape(1, 1, 2, 1, 1)
    expected = difference**2 / (mean**2 + difference**2)
    assert outside_mean(kernel) == pytest.approx(expected, rel=1e-4)


def test_energy_goes_by_tap_and_taps_can_be_left_out():
    kernel = torch.zeros(2, 3, 3, 2, 2)
    kernel[:, :, 1], kernel[:, :, 2] = 2.0, 1.0
    assert energy_by_tap(kernel) == pytest.approx([0, 0.8, 0.2])
    assert outside_mean(kernel) == pytest.approx(1 - 3 * 1.0**2 / 5)
    assert outside_mean(kernel, [1]) == 0
    assert outside_mean(torch.zeros(1, 1, 3, 1, 1)) == 0
    assert energy_by_tap(torch.zeros(1, 1, 4, 1, 1)) == [0.25] * 4


def test_the_first_kernels_are_those_of_the_stem_wherever_it_sits():
    stem = torch.ones(4, 1, 3, 3, 3)
    tensors = {
        "backbone.layer1.0.conv1.weight": torch.zeros(4, 4, 3, 3, 3),
        "backbone.conv1.weight": stem,
        "backbone.bn1.weight": torch.ones(4),
    }
    assert first_kernels(tensors) is stem
    other = {"features.0.weight": stem, "features.3.weight": torch.zeros(4, 4, 3, 3, 3)}
    assert first_kernels(other) is stem


def test_what_has_no_depth_is_refused():
    with pytest.raises(UsageError, match="a 2D network has no depth"):
        outside_mean(torch.zeros(1, 1, 3, 3))
    with pytest.raises(UsageError, match=r"taps \[3\] of kernels that have 3"):
        outside_mean(torch.zeros(1, 1, 3, 3, 3), [3])
    with pytest.raises(InputError, match="no kernels wider than one voxel"):
        first_kernels({"fc.weight": torch.zeros(2, 3), "a.weight": torch.zeros(2, 3, 1, 1)})
    assert math.isclose(sum(energy_by_tap(torch.rand(2, 2, 5, 3, 3))), 1)
