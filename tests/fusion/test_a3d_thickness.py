"""A3D that counts in millimetres, against the sum over interpolated slices written out in NumPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import thirdaxis
from thirdaxis.fusion.a3d import shortened

pytestmark = pytest.mark.usefixtures("double_precision")
TIGHT = dict(rtol=1e-9, atol=1e-10)


def between(slices: np.ndarray, place: float) -> np.ndarray:
    """What lies at a place, counted in slices from 0, of a volume (D, H, W)."""
    below = min(math.floor(place), len(slices) - 1)
    above = min(below + 1, len(slices) - 1)
    return (below + 1 - place) * slices[below] + (place - below) * slices[above]


def mixed(mix: np.ndarray, x: np.ndarray, shares: list[float]) -> np.ndarray:
    """Every channel and slice by itself: what lies so many millimetres away, weighted."""
    out = np.zeros_like(x)
    for n, c, k in np.ndindex(x.shape[:3]):
        for d in range(x.shape[2]):
            out[n, c, k] += mix[d, k, c] * between(x[n, c], k + shares[n] * (d - k))
    return out


def by_hand(lifted: nn.Module, conv: nn.Conv2d, x: torch.Tensor, shares: list[float], step: int):
    mix = lifted.fusion.mix.detach().numpy()
    told = torch.from_numpy(mixed(mix, x.detach().numpy(), shares))
    return torch.stack([conv(told[:, :, i]) for i in range(0, x.shape[2], step)], 2)


def disturbed(conv: nn.Module, **settings) -> nn.Module:
    """A lifted convolution whose mix is nothing special."""
    lifted = thirdaxis.convert(conv, thirdaxis.A3D(**settings))
    lifted.fusion.mix.data.normal_()
    return lifted


@given(
    depth=st.integers(1, 9),
    reference=st.floats(0.1, 10),
    thickness=st.lists(st.floats(0.05, 100), min_size=1, max_size=3),
    stride=st.integers(1, 2),
)
def test_equals_the_interpolated_slices_written_out(depth, reference, thickness, stride):
    conv = nn.Conv2d(4, 3, 3, stride, 1)
    lifted, x = disturbed(conv, depth=depth, reference=reference), torch.randn(3, 4, depth, 4, 5)
    x = x[: len(thickness)]
    shares = [min(1.0, reference / mm) for mm in thickness]
    found = lifted(x, thickness=torch.tensor(thickness))
    torch.testing.assert_close(found, by_hand(lifted, conv, x, shares, stride), **TIGHT)


UNKNOWN = [math.nan, 0.0, -3.0, math.inf, -math.inf]


@given(depth=st.integers(1, 9), thickness=st.sampled_from([2.0, 1.0, 0.01, *UNKNOWN]))
def test_its_ends(depth, thickness):
    """From the reference down plain A3D; unknown or endless thickness mixes no slices."""
    conv, x = nn.Conv2d(3, 2, 3, padding=1), torch.randn(2, 3, depth, 4, 4)
    lifted, plain = disturbed(conv, depth=depth, reference=2.0), disturbed(conv, depth=depth)
    plain.load_state_dict(lifted.state_dict())
    found = lifted(x, thickness=torch.tensor([thickness, 1.5]))
    expected = plain(x)
    if not 0 < thickness < math.inf:
        scale = lifted.fusion.mix.sum(0).T[..., None, None]  # (C, D, 1, 1): one for each slice
        alone = [conv((x[0] * scale)[:, i]) for i in range(depth)]
        expected = torch.stack([torch.stack(alone, 1), expected[1]])
    torch.testing.assert_close(found, expected, **TIGHT)


def test_plain_a3d_to_the_bit_at_the_reference():
    lifted = disturbed(nn.Conv2d(3, 2, 3), depth=7, reference=2.0)
    told = shortened(lifted.fusion.mix, torch.ones(2))
    assert torch.equal(told, lifted.fusion.mix.expand(2, -1, -1, -1))


@given(depth=st.integers(2, 9), thickness=st.floats(0.1, 50))
def test_a_mix_that_shifts_is_alignshift(depth, thickness):
    conv = nn.Conv2d(8, 3, 3, padding=1)
    lifted, x = disturbed(conv, depth=depth, reference=3.0), torch.randn(1, 8, depth, 4, 4)
    ahead = torch.zeros(depth, depth)
    ahead[[*range(1, depth), depth - 1], range(depth)] = 1  # from slice, to slice
    mix = torch.eye(depth).unsqueeze(-1).repeat(1, 1, 8)
    mix[..., 0], mix[..., 1] = ahead, ahead.flip(0, 1)
    lifted.fusion.mix.data = mix
    told = {"thickness": torch.tensor([thickness])}
    shift = thirdaxis.convert(conv, thirdaxis.AlignShift(reference=3.0))
    torch.testing.assert_close(lifted(x, **told), shift(x, **told), **TIGHT)


@given(thickness=st.floats(0.1, 50))
def test_identical_slices_are_answered_alike_at_any_thickness(thickness):
    lifted = disturbed(nn.Conv2d(3, 2, 3, padding=1), depth=5, reference=2.0)
    x = torch.randn(1, 3, 1, 4, 4).repeat(2, 1, 5, 1, 1)
    thin, other = lifted(x, thickness=torch.tensor([2.0, thickness]))
    torch.testing.assert_close(other, thin, **TIGHT)


@given(share=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), depth=st.integers(1, 9))
def test_a_thick_volume_reaches_fewer_slices(share, depth):
    reached = shortened(torch.rand(depth, depth, 1) + 1, torch.tensor([share]))[0, ..., 0] > 0
    for source, target in np.ndindex(depth, depth):
        most = share * (depth - 1 - target if source > target else target)
        assert reached[source, target] == (source == target or abs(source - target) < most + 1)


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_gradients(kind):
    lifted = disturbed(kind(3, 2, 3, 1, 1), depth=4, reference=2.0)
    x = torch.randn(3, 3, 4, 4, 5, requires_grad=True)
    told = {"thickness": torch.tensor([1.0, 3.1, 9.0])}
    names, values = zip(*lifted.named_parameters(), strict=True)

    def by_parameters(x, *values):
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(lifted, state, (x,), told)

    assert torch.autograd.gradcheck(by_parameters, (x, *values), fast_mode=True)
    lifted(x, **told).square().sum().backward()
    assert lifted.fusion.mix.grad.abs().min() > 0


def test_off_unless_asked_for():
    conv, x = nn.Conv2d(3, 2, 3, padding=1), torch.randn(2, 3, 4, 5, 5)
    plain = disturbed(conv, depth=4)
    thick = torch.tensor([9.0, 1.0])
    torch.testing.assert_close(plain(x, thickness=thick), plain(x), rtol=0, atol=0)
    assert not thirdaxis.A3D().needs_thickness and thirdaxis.A3D(reference=1).needs_thickness
    for wrong in (0, -2.0, math.nan):
        with pytest.raises(thirdaxis.UsageError, match="reference is positive, in mm"):
            thirdaxis.A3D(reference=wrong)


def test_reported_with_and_not_exported_without_a_thickness():
    torch.set_default_dtype(torch.float32)
    lifted = disturbed(nn.Conv2d(3, 2, 3, padding=1), depth=5, reference=2.0)
    told = thirdaxis.report(lifted)
    assert not told.trouble and told.lifted == 1 and told.own_parameters == 75
    assert "A3D(depth=5, reference=2.0)" in str(told)
    with pytest.raises(thirdaxis.UsageError, match="asks for the thickness of slices"):
        thirdaxis.export(lifted, torch.randn(1, 3, 5, 8, 8), dynamic=("batch",))
