"""A3D: every channel mixes all slices by a matrix of its own, then every slice is convolved."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from thirdaxis.axes import DEPTH, HEIGHT, Geometry
from thirdaxis.errors import InputError, UsageError
from thirdaxis.fusion.base import Layer, Mixing, Operator, OwningFusion
from thirdaxis.fusion.thickness import reach


@dataclass(frozen=True)
class A3D(OwningFusion):
    """``x'[c, k] = sum over d of P[d, k, c] x[c, d]``, then a 1 x K x K convolution.

    P (D, D, C_in) is a parameter of the layer, the identity plus U(-0.1, 0.1) at its start. So the
    number of slices D is fixed: ``depth`` for the volumes, and for each layer what comes of it,
    found by running the network's shapes when it is converted. Kernels of any sides are reached.

    With a ``reference`` the mix counts in millimetres: ``P[d, k]`` weighs not slice d but the place
    that lies d - k slices of the reference thickness from slice k,

        ``x'[c, k] = sum over d of P[d, k, c] x[c, k + a (d - k)]``,

    where ``a = min(1, reference / thickness)`` and x is interpolated linearly between slices. That
    is the mix with ``P'[e, k] = sum over d of P[d, k] max(0, 1 - |e - k - a (d - k)|)``, for each
    volume of a batch its own. At the reference thickness and for thinner slices P' is P. Thicker
    ones reach fewer neighbours, down to none: P' becomes diagonal, and its columns keep their sums,
    so that volumes of identical slices are answered alike at any thickness. It shortens the reach
    as ``alignshift`` does, which is the case of a P that shifts by one slice and keeps the end
    slice; at strided depth and for unknown thickness too.

    Source: Yang et al., "Asymmetric 3D Context Fusion for Universal Lesion Detection", MICCAI 2021,
    before both convolutions of every dense layer (overrides ``"@dense_layers"``). The reference is
    beyond the paper, which suggests to adapt to thickness.

    Attributes:
        depth: slices D of the volumes that the network takes.
        noise: half-width of the uniform noise at the start.
        pointwise: whether slices are mixed before 1 x 1 convolutions too.
        reference: thickness that a step from slice to slice of the mix stands for, in mm; None
            mixes all volumes alike, as the paper does.

    Raises:
        UsageError: a depth below 1, noise below 0, or a reference that is not positive.
    """

    name: ClassVar[str] = "a3d"
    runs: ClassVar[str] = "1×K×K, after a D×D mix of the slices of each input channel"
    extra: ClassVar[str] = "D²·Ci"
    fixed_point: ClassVar[str] = "with the identity for a mix equals `slicewise`"
    depth: int = 7
    noise: float = 0.1
    pointwise: bool = False
    reference: float | None = None

    def __post_init__(self) -> None:
        """Checks the settings."""
        if type(self.depth) is not int or self.depth < 1:
            raise UsageError(f"a3d: depth is a whole number of slices from 1, got {self.depth!r}")
        if not self.noise >= 0:
            raise UsageError(f"a3d: noise is a number from 0, got {self.noise!r}")
        if self.reference is not None and not self.reference > 0:
            raise UsageError(f"a3d: reference is positive, in mm, got {self.reference!r}")

    def reaches(self, geometry: Geometry) -> bool:
        """Kernels of any sides; 1 x 1 ones where the settings say so."""
        return self.pointwise or not geometry.pointwise

    def fixed_depth(self) -> int:
        """Slices of the volumes."""
        return self.depth

    @property
    def needs_thickness(self) -> bool:
        """Where the mix counts in millimetres."""
        return self.reference is not None

    def operator(self, layer: Layer) -> Operator:
        """The mix of one convolution."""
        return Mix(self, layer)


class Mix(Mixing, Operator):
    """The D x D matrices of one convolution.

    Attributes:
        mix: (D, D, C_in): from slice, to slice, channel.
    """

    settings: A3D

    def __init__(self, settings: A3D, layer: Layer) -> None:
        super().__init__(settings)
        count = layer.slices
        noise = layer.like.new_empty(count, count, layer.in_channels)
        noise.uniform_(-settings.noise, settings.noise)
        start = torch.eye(count, dtype=noise.dtype, device=noise.device).unsqueeze(-1)
        self.mix = nn.Parameter(start + noise)

    def mixed(self, x: Tensor, geometry: Geometry) -> Tensor:
        """(N, C, D, H, W) with the slices of each channel mixed.

        Raises:
            InputError: another number of slices, or no thickness where the settings ask for it.
        """
        if x.shape[DEPTH] != self.mix.shape[0]:
            raise InputError(
                f"a3d: the network was converted for volumes of {self.settings.depth} slices, "
                f"which are {self.mix.shape[0]} at a layer that got {x.shape[DEPTH]}: give volumes "
                f"of {self.settings.depth}, or convert with A3D(depth=...)"
            )
        mix: Tensor = self.mix
        if self.settings.reference is not None:
            share = reach(geometry, self.settings.reference, "a3d with a reference thickness")
            mix = shortened(mix, share)
        # Each channel's slices are multiplied where they lie; einsum would lay the volume anew,
        # which takes twice to five times as long on a CPU.
        into = mix.movedim(-1, -3).transpose(-1, -2).to(x.dtype)  # ([N,] C, to, from)
        return (into @ x.flatten(HEIGHT)).unflatten(HEIGHT, x.shape[HEIGHT:])


def shortened(mix: Tensor, share: Tensor) -> Tensor:
    """The mix of each volume whose slices are thicker than the reference.

    Args:
        mix: (D, D, C), from slice, to slice, channel.
        share: (N,), how many slices of the volume stand for one of the reference, from 0 to 1.

    Returns:
        (N, D, D, C).
    """
    slices = torch.arange(len(mix), dtype=mix.dtype, device=mix.device)
    steps = slices.view(-1, 1) - slices
    places = slices + share.to(mix).view(-1, 1, 1) * steps  # of what P[d, k] weighs, (N, d, k)
    near = 1 - (slices.view(-1, 1, 1) - places.unsqueeze(1)).abs()
    return torch.einsum("nedk,dkc->nekc", near.clamp(min=0), mix)
