"""Shifts: operators that move channels along depth, then convolve every slice."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from thirdaxis.axes import Geometry
from thirdaxis.errors import UsageError
from thirdaxis.fusion.base import Fusion, Mixing


@dataclass(frozen=True)
class Shift(Mixing, Fusion):
    """Moves a share of the input channels along depth before a 1 x K x K convolution.

    Kernels of any sides are reached, for none is turned.

    Attributes:
        fraction: share of the input channels that looks ahead, and as many more that look back.
        pointwise: whether 1 x 1 convolutions shift too.

    Raises:
        UsageError: a fraction that is not from 0 to 1/2.
    """

    fraction: float = 0.125
    pointwise: bool = False
    runs: ClassVar[str] = "1×K×K, after a shift of 1/8 + 1/8 of the input channels"

    def __post_init__(self) -> None:
        """Checks the fraction."""
        if not 0 <= self.fraction <= 0.5:
            raise UsageError(f"{self.name}: fraction is from 0 to 0.5, got {self.fraction!r}")

    def reaches(self, geometry: Geometry) -> bool:
        """Kernels of any sides; 1 x 1 ones where the settings say so."""
        return self.pointwise or not geometry.pointwise

    def moved(self, x: Tensor) -> int:
        """How many channels look ahead, and back; rounded down."""
        return int(x.shape[1] * self.fraction + 1e-9)
