"""I3D: the 2D kernel inflated to K x K x K, with the mean of every response kept."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from thirdaxis.axes import DEPTH, Geometry
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.depth import convolve_volume, transpose_volume

STARTS = ("mean", "centre")


@dataclass(frozen=True)
class I3D(Fusion):
    """A K x K kernel becomes a K x K x K parameter of its own, K times as large.

    ``w3d[:, :, k] = w2d / K`` at every depth tap k, so that a volume of identical slices gives the
    2D answer away from its ends (Carreira and Zisserman, "Quo Vadis, Action Recognition?", 2017).
    With ``start="centre"``, ``w3d[:, :, (K - 1) // 2] = w2d`` and the rest is zero, so that every
    slice gives its 2D answer until training fills the other taps ("central frame initialisation" of
    Arnab et al., "ViViT: A Video Vision Transformer", 2021); exactly so where a layer pads by half
    its kernel, as nearly all do.

    Attributes:
        start: ``"mean"`` or ``"centre"``.
        taps: taps along depth, if not as many as along the sides of each kernel; 1 x 1 kernels
            are inflated too then, ``taps=3`` to 3 x 1 x 1.

    Raises:
        UsageError: another start, or no number of taps.
    """

    name: ClassVar[str] = "i3d"
    runs: ClassVar[str] = "K×K×K"
    extra: ClassVar[str] = "K times as many"
    fixed_point: ClassVar[str] = (
        "equals the 2D network on identical slices, K//2 away from the ends; with "
        '`start="centre"` equals `slicewise`'
    )
    start: str = "mean"
    taps: int | None = None

    def __post_init__(self) -> None:
        """Checks the start."""
        if self.start not in STARTS:
            guess = did_you_mean(str(self.start), STARTS)
            raise UsageError(f"I3D: unknown start {self.start!r}{guess}")
        if self.taps is not None and (type(self.taps) is not int or self.taps < 1):
            raise UsageError(f"I3D: taps is a number from 1, got {self.taps!r}")

    def reaches(self, geometry: Geometry) -> bool:
        """Square kernels; 1 x 1 ones where the taps along depth are told."""
        return geometry.square and (self.taps is not None or not geometry.pointwise)

    def stored(self, weight: Tensor) -> Tensor:
        """(C_out, C_in, K, K) to (C_out, C_in, taps, K, K); the same for transposed kernels."""
        side = self.taps or weight.shape[-1]
        if self.start == "mean":
            return weight.unsqueeze(DEPTH).repeat(1, 1, side, 1, 1) / side
        kernel = weight.new_zeros(*weight.shape[:2], side, *weight.shape[2:])
        kernel[:, :, (side - 1) // 2] = weight
        return kernel

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Convolves with a 2D kernel that no layer owns, inflated on the spot."""
        return convolve_volume(x, self.stored(weight), bias, geometry)

    def convolve_transposed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Transposed convolution with a 2D kernel that no layer owns, inflated on the spot."""
        return transpose_volume(x, self.stored(weight), bias, geometry)
