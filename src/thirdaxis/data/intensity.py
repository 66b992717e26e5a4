"""Intensities to network numbers, one volume at a time."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thirdaxis.errors import UsageError


@dataclass(frozen=True)
class ZScore:
    """Zero mean and unit standard deviation per channel; a constant channel becomes zeros.

    Args:
        nonzero: take mean and deviation over the voxels other than 0 (for scans whose background
            was set to 0); all voxels are shifted and scaled.
    """

    nonzero: bool = False

    def __call__(self, array: Tensor) -> Tensor:
        """Normalises one volume, (C, D, H, W), and returns float32."""
        return torch.stack([self._channel(channel) for channel in _exact(array)]).float()

    def _channel(self, channel: Tensor) -> Tensor:
        inside = channel[channel != 0] if self.nonzero else channel
        if inside.numel() == 0:
            return torch.zeros_like(channel)
        return _divide(channel - inside.mean(), inside.std(correction=0))


@dataclass(frozen=True)
class Window:
    """A CT window: `low_hu` and below become 0, `high_hu` and above become 1.

    Args:
        low_hu: lower end in Hounsfield units.
        high_hu: upper end in Hounsfield units.

    Raises:
        UsageError: where `low_hu` is not below `high_hu`.
    """

    low_hu: float
    high_hu: float

    def __post_init__(self) -> None:
        if not self.low_hu < self.high_hu:
            raise UsageError(f"a window goes up, not from {self.low_hu:g} to {self.high_hu:g} HU")

    def __call__(self, array: Tensor) -> Tensor:
        """Normalises one volume, (C, D, H, W) in HU, and returns float32 in [0, 1]."""
        return ((array.float() - self.low_hu) / (self.high_hu - self.low_hu)).clamp(0, 1)


@dataclass(frozen=True)
class Percentiles:
    """Percentiles of each channel to 0 and 1, clipped; a constant channel becomes zeros.

    Args:
        low: the percentile, 0 to 100, that becomes 0.
        high: the percentile, 0 to 100, that becomes 1.

    Raises:
        UsageError: where they are not 0 <= low < high <= 100.
    """

    low: float = 0.5
    high: float = 99.5

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 100:
            raise UsageError(f"percentiles are 0 <= low < high <= 100, not {self.low}, {self.high}")

    def __call__(self, array: Tensor) -> Tensor:
        """Normalises one volume, (C, D, H, W), and returns float32 in [0, 1]."""
        return torch.stack([self._channel(channel) for channel in _exact(array)]).float()

    def _channel(self, channel: Tensor) -> Tensor:
        # torch.quantile refuses more than 2^24 values, fewer than a CT has.
        low, high = np.percentile(channel.cpu().numpy(), [self.low, self.high])
        return _divide(channel - low, torch.tensor(high - low)).clamp(0, 1)


Intensity = ZScore | Window | Percentiles
INTENSITIES: dict[str, type[Intensity]] = {
    "zscore": ZScore,
    "window": Window,
    "percentiles": Percentiles,
}


def _exact(array: Tensor) -> Tensor:
    """As float64 of float32 values, whose sum over a constant volume has no rounding."""
    return array.float().double()


def _divide(centred: Tensor, spread: Tensor) -> Tensor:
    return centred / spread if spread > 0 else torch.zeros_like(centred)
