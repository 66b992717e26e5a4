import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.data.intensity import INTENSITIES, Percentiles, Window, ZScore
from thirdaxis.errors import UsageError


@pytest.fixture
def scan():
    """Two channels whose levels differ by four orders of magnitude."""
    rng = np.random.default_rng(0)
    array = np.stack([rng.normal(3, 2, (4, 5, 6)), rng.normal(5e4, 1e4, (4, 5, 6))])
    return torch.from_numpy(array.astype(np.float32))


def test_zscore_agrees_with_numpy(scan):
    array = scan.numpy().astype(np.float64)
    axes = (1, 2, 3)
    mean, deviation = array.mean(axes, keepdims=True), array.std(axes, keepdims=True)
    result = ZScore()(scan)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), (array - mean) / deviation, atol=1e-5)


def test_nonzero_zscore_leaves_the_background_out(scan):
    scan[:, :2] = 0
    inside = scan[:, 2:].numpy().astype(np.float64).reshape(2, -1)
    result = ZScore(nonzero=True)(scan)
    mean, deviation = inside.mean(1), inside.std(1)
    expected = (scan.numpy() - mean.reshape(2, 1, 1, 1)) / deviation.reshape(2, 1, 1, 1)
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-5)


def test_a_window_is_written_out():
    hu = torch.tensor([-2000.0, -200, -87.5, 25, 250, 3000]).reshape(1, 1, 1, 6)
    result = Window(-200, 250)(hu)
    assert result.flatten().tolist() == pytest.approx([0, 0, 0.25, 0.5, 1, 1])


def test_percentiles_agree_with_numpy(scan):
    array = scan.numpy().astype(np.float64)
    low = np.percentile(array, 5, axis=(1, 2, 3), keepdims=True)
    high = np.percentile(array, 90, axis=(1, 2, 3), keepdims=True)
    expected = np.clip((array - low) / (high - low), 0, 1)
    np.testing.assert_allclose(Percentiles(5, 90)(scan).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("intensity", [ZScore(), ZScore(nonzero=True), Percentiles()])
@given(level=st.floats(-1e9, 1e9, width=32))
def test_a_constant_volume_becomes_zeros(intensity, level):
    result = intensity(torch.full((1, 3, 3, 3), level))
    assert torch.equal(result, torch.zeros(1, 3, 3, 3))


@pytest.mark.parametrize("intensity", [ZScore(), Percentiles()])
def test_a_large_constant_volume_of_doubles_becomes_zeros(intensity):
    result = intensity(torch.full((1, 31, 37, 41), 0.1, dtype=torch.float64))
    assert torch.equal(result, torch.zeros(1, 31, 37, 41))


@pytest.mark.parametrize("intensity", [ZScore(), Percentiles(0, 100)])
def test_scale_and_shift_of_the_scan_do_not_matter(intensity, scan):
    result = intensity(scan)
    torch.testing.assert_close(intensity(scan * 1e4 + 100), result, atol=1e-3, rtol=0)


@pytest.mark.parametrize("intensity", [ZScore(), Window(-100, 100), Percentiles()])
def test_the_given_volume_is_left_alone_and_whole_numbers_are_taken(intensity, scan):
    whole = scan.to(torch.int16)
    copy = whole.clone()
    result = intensity(whole)
    assert torch.equal(whole, copy)
    assert result.dtype == torch.float32 and result.shape == whole.shape
    torch.testing.assert_close(result, intensity(whole.float()))


@pytest.mark.parametrize("ends", [(100, 100), (1, 0), (float("nan"), 1)])
def test_a_window_goes_up(ends):
    with pytest.raises(UsageError, match="goes up"):
        Window(*ends)


@pytest.mark.parametrize("ends", [(-1, 50), (50, 50), (10, 101)])
def test_percentiles_lie_between_0_and_100(ends):
    with pytest.raises(UsageError, match="0 <= low < high <= 100"):
        Percentiles(*ends)


def test_each_is_a_frozen_setting_in_the_table():
    assert set(INTENSITIES.values()) == {ZScore, Window, Percentiles}
    assert Window(-100, 100) == Window(-100, 100) and hash(ZScore()) == hash(ZScore())
