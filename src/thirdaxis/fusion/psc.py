"""PSC: three parallel streams, each a convolution in a plane and then one across it (P3SC1)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from thirdaxis.axes import DEPTH, HEIGHT, WIDTH, Geometry
from thirdaxis.fusion.acs import joined
from thirdaxis.fusion.base import Layer, Operator, OwningFusion
from thirdaxis.fusion.depth import convolve_along, transpose_along
from thirdaxis.fusion.planes import VIEW_AXIS, channels_of, shares

PLANES = tuple(VIEW_AXIS)
WIDEST = 512


@dataclass(frozen=True)
class PSC(OwningFusion):
    """P3SC1: ``y_v = across_v * relu(plane_v * x) + b_v`` for v axial, coronal, sagittal, joined.

    Each stream makes a third of the output channels, by a K x K kernel in its plane to M channels
    and K taps along the axis that the plane leaves out, where
    ``M = floor(C_in C_out K^3 / (C_in K^2 + C_out K) / 3)``, at most C_out and 512. Both parts take
    the stride of the axes that they cover. The published streams end with a ReLU too; here the
    network's own follows. From three groups on whole groups are shared out over the streams.

    The converted layer keeps the planes' kernels as its weight, (3 M, C_in, K, K), and owns
    ``across``, (C_out, M, K): both start at random, for 2D weights have no place in them. This
    operator is for training from scratch, as a counterpart.

    Source: Gonda et al., "Parallel Separable 3D Convolution for Video and Volumetric Data
    Understanding", BMVC 2018; P3SC1 as compared in Yang et al., "Reinventing 2D Convolutions for 3D
    Images", IEEE JBHI 2021.
    """

    name: ClassVar[str] = "psc"
    runs: ClassVar[str] = "1×K×K, K×1×K, K×K×1, each followed by K taps across, in parallel"
    extra: ClassVar[str] = "all its own: 3·M·Ci·K² + Co·M·K"
    fixed_point: ClassVar[str] = "three chains of dense convolutions with flat and thin kernels"

    def operator(self, layer: Layer) -> Operator:
        """The kernels of the streams of one convolution."""
        return Streams(self, layer)


def stream_width(layer: Layer) -> int:
    """Channels between the two parts of a stream: as many weights as K x K x K would have."""
    side, into = layer.kernel[0], layer.in_channels // layer.groups
    out = layer.out_channels // layer.groups
    width = into * out * side**3 // (into * side**2 + out * side) // len(PLANES)
    return max(1, min(width, out, WIDEST))


class Streams(Operator):
    """The streams of one convolution.

    Attributes:
        across: (C_out, M, K), taps along the axis that the plane of each output channel leaves out.
    """

    replaces_kernel = True

    def __init__(self, settings: PSC, layer: Layer) -> None:
        super().__init__(settings)
        self.width = stream_width(layer)
        self.out_channels, self.groups = layer.out_channels, layer.groups
        self.transposed = layer.transposed
        self.across = nn.Parameter(
            layer.like.new_empty(layer.out_channels, self.width, layer.kernel[0])
        )
        nn.init.kaiming_uniform_(self.across, a=math.sqrt(5))

    def stored(self, weight: Tensor) -> Tensor:
        """Random kernels of the planes: (S M, C_in / groups, K, K) for S streams of every group.

        In transposed convolutions (C_in, S M / groups, K, K).
        """
        count = sum(groups for *_, groups in self._streams()) * self.width
        size = (count, *weight.shape[1:])
        if self.transposed:
            size = (weight.shape[0], count // self.groups, *weight.shape[2:])
        kernel = torch.empty(size, dtype=weight.dtype, device=weight.device)
        nn.init.kaiming_uniform_(kernel, a=math.sqrt(5))
        return kernel

    def cost(self, weight: Tensor) -> int:
        """Both parts."""
        return weight.numel() + self.across.numel()

    def _streams(self) -> Iterator[tuple[str, slice, slice, int]]:
        return shares(PLANES, self.out_channels, self.groups)

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Convolves (N, C, D, H, W) with the streams."""
        parts, row = [], 0
        for plane, inputs, outputs, groups in self._streams():
            axis, part = VIEW_AXIS[plane], replace(geometry, groups=groups)
            rows = slice(row, row + groups * self.width)
            row = rows.stop
            read = channels_of(x, inputs, geometry)
            kernel = weight[rows].unsqueeze(axis)
            middle = torch.relu(convolve_along(read, kernel, part, _others(axis)))
            taps = _line(self.across[outputs], axis)
            parts.append(convolve_along(middle, taps, part, (axis,)))
        return joined(parts, bias)

    def convolve_transposed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Transposed twin."""
        parts = []
        size, columns = weight.shape[0] // geometry.groups, weight.shape[1]
        for i, (plane, inputs, outputs, groups) in enumerate(self._streams()):
            axis, part = VIEW_AXIS[plane], replace(geometry, groups=groups)
            first = i * self.width % columns
            kernel = weight[inputs.start * size : inputs.stop * size]
            kernel = kernel[:, first : first + self.width].unsqueeze(axis)
            read = channels_of(x, inputs, geometry)
            middle = torch.relu(transpose_along(read, kernel, part, _others(axis)))
            taps = self.across[outputs].unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
            parts.append(transpose_along(middle, _line(taps, axis), part, (axis,)))
        return joined(parts, bias)


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in (DEPTH, HEIGHT, WIDTH) if other != axis)


def _line(taps: Tensor, axis: int) -> Tensor:
    """(A, B, K) as (A, B, 1, 1, 1) with K taps on one axis."""
    size = [*taps.shape[:2], 1, 1, 1]
    size[axis] = taps.shape[-1]
    return taps.reshape(size)
