"""ACS whose output channels each have a plane of their own, chosen by a criterion or learnt."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thirdaxis.axes import Geometry
from thirdaxis.fusion.base import Fusion, Layer, Operator
from thirdaxis.fusion.planes import (
    VIEW_AXIS,
    Three,
    channels_of,
    convolve_plane,
    runs_of,
    shares,
    transpose_plane,
)

VIEWS = tuple(VIEW_AXIS)
AXIAL, CORONAL, SAGITTAL = range(3)


class Run(NamedTuple):
    """Output channels that one convolution makes, in the order sorted by plane.

    Attributes:
        axis: that the plane leaves out.
        inputs: groups that it reads, sorted alike.
        outputs: channels that it makes.
        groups: of this convolution.
    """

    axis: int
    inputs: slice
    outputs: slice
    groups: int


class ChannelPlanes(Operator):
    """The planes of the output channels of one convolution; its parameters are the 2D ones.

    Channels of one plane are convolved together and written to their own places, so that it costs
    what ACS costs. From three groups on, channels of a group share a plane.

    Attributes:
        planes: (C_out,), 0 axial, 1 coronal, 2 sagittal: a buffer that goes into checkpoints, for
            trained kernels no longer tell where they looked when training began.
        order: (C_out,), channels sorted by plane, group by group.
        inputs: (C_in,), the input channels that they read in that order.
        runs: what is convolved together.
    """

    planes: Tensor
    order: Tensor
    inputs: Tensor

    def __init__(
        self, settings: Fusion, layer: Layer, planes: Sequence[str], split: Three, judged: bool
    ) -> None:
        """Shares the channels out in their order, or by their kernels.

        Args:
            settings: of the operator.
            layer: the convolution.
            planes: the plane of each share.
            split: proportions of the shares.
            judged: whether kernels are judged, here and when a 2D checkpoint is loaded.
        """
        super().__init__(settings)
        self.groups, self.in_channels = layer.groups, layer.in_channels
        self.transposed, self.judged = layer.transposed, judged
        self.counts = [0, 0, 0]
        pool = layer.groups if layer.groups >= 3 else layer.out_channels // layer.groups
        for plane, run in zip(planes, runs_of(pool, split), strict=True):
            self.counts[VIEWS.index(plane)] += run.stop - run.start
        start = torch.zeros(layer.out_channels, dtype=torch.int8)
        for plane, _, outputs, _ in shares(planes, layer.out_channels, layer.groups, split):
            start[outputs] = VIEWS.index(plane)
        if judged and not layer.like.is_meta:  # which has no numbers yet
            start = self.by_kernel(layer.like)
        self.register_buffer("planes", start)
        self.register_buffer("order", None, persistent=False)
        self.register_buffer("inputs", None, persistent=False)
        self.assign(start)
        self.to(layer.like.device)

    def assign(self, planes: Tensor) -> None:
        """Gives every output channel a plane.

        Args:
            planes: (C_out,), 0 axial, 1 coronal, 2 sagittal.

        Raises:
            ValueError: other numbers, or several planes in one of three groups or more.
        """
        by_group = planes.reshape(self.groups, -1).cpu().long()
        if planes.shape != self.planes.shape or not 0 <= by_group.min() <= by_group.max() <= 2:
            raise ValueError(
                f"planes takes ({len(self.planes)},) of 0 axial, 1 coronal, 2 sagittal"
            )
        per_group = by_group.shape[1]
        channels = torch.arange(len(planes)).view(self.groups, -1)
        inputs = torch.arange(self.in_channels).view(self.groups, -1)
        self.runs: list[Run] = []
        if self.groups >= 3:
            if not torch.equal(by_group, by_group[:, :1].expand_as(by_group)):
                raise ValueError(f"planes: channels of one of {self.groups} groups share a plane")
            order = by_group[:, 0].argsort(stable=True)
            channels, inputs = channels[order], inputs[order]
            self._add_runs(by_group[:, 0], 0, per_group)
        else:
            channels = channels.gather(1, by_group.argsort(dim=1, stable=True))
            for group in range(self.groups):
                self._add_runs(by_group[group], group)
        device = self.planes.device
        self.planes = planes.to(device, torch.int8)
        self.order, self.inputs = channels.flatten().to(device), inputs.flatten().to(device)

    def _add_runs(self, planes: Tensor, group: int, per_group: int = 0) -> None:
        """Runs of the planes of whole groups, or of the channels of one of one or two groups."""
        start = 0
        for axis, count in zip(VIEW_AXIS.values(), planes.bincount(minlength=3), strict=True):
            stop = start + int(count)
            if stop > start and per_group:
                outputs = slice(start * per_group, stop * per_group)
                self.runs.append(Run(axis, slice(start, stop), outputs, stop - start))
            elif stop > start:
                first = group * len(planes)
                outputs = slice(first + start, first + stop)
                self.runs.append(Run(axis, slice(group, group + 1), outputs, 1))
            start = stop

    def by_kernel(self, weight: Tensor) -> Tensor:
        """The planes (C_out,) that a 2D kernel asks for."""
        kernels = by_output(weight, self.groups) if self.transposed else weight
        pools = 1 if self.groups >= 3 else self.groups
        units = self.groups if self.groups >= 3 else len(kernels)
        pooled = kernels.reshape(pools, units // pools, -1, *weight.shape[-2:])
        planes = torch.cat([planes_by_kernel(pool, self.counts) for pool in pooled])
        return planes.repeat_interleave(len(kernels) // units).to(torch.int8)

    def adopt(self, conv: nn.Module) -> None:
        """Judges the kernels of 2D checkpoints that the convolution will load."""
        if self.judged:
            conv.register_load_state_dict_pre_hook(_judge_2d_checkpoint)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if f"{prefix}planes" in state_dict and not self.planes.is_meta:
            try:
                self.assign(self.planes)
            except ValueError as error:
                rest[-1].append(f"{prefix}{error}")

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Convolves (N, C, D, H, W), each output channel in its plane."""
        weight, parts = weight.index_select(0, self.order), []
        for run, read in self._reads(x, geometry):
            part = replace(geometry, groups=run.groups)
            parts.append(convolve_plane(read, weight[run.outputs], part, run.axis))
        return self._in_place(parts, bias)

    def convolve_transposed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Transposed twin."""
        weight, parts = by_output(weight, self.groups).index_select(0, self.order), []
        for run, read in self._reads(x, geometry):
            part, kernel = replace(geometry, groups=run.groups), weight[run.outputs]
            parts.append(transpose_plane(read, by_output(kernel, run.groups), part, run.axis))
        return self._in_place(parts, bias)

    def _reads(self, x: Tensor, geometry: Geometry) -> list[tuple[Run, Tensor]]:
        if self.groups >= 3:
            x = x.index_select(1, self.inputs)
        return [(run, channels_of(x, run.inputs, geometry)) for run in self.runs]

    def _in_place(self, parts: list[Tensor], bias: Tensor | None) -> Tensor:
        """What the runs made, each channel in its own place, with the bias."""
        first = parts[0]
        out = first.new_empty(first.shape[0], len(self.order), *first.shape[2:])
        for run, part in zip(self.runs, parts, strict=True):
            out.index_copy_(1, self.order[run.outputs], part)
        return out if bias is None else out + bias.to(out.dtype).view(-1, 1, 1, 1)


def by_output(weight: Tensor, groups: int) -> Tensor:
    """(C_in, C_out / groups, K, K), a transposed one, as (C_out, C_in / groups, K, K), and back."""
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


def planes_by_kernel(kernels: Tensor, counts: Sequence[int]) -> Tensor:
    """The plane that suits each kernel, 0 axial, 1 coronal, 2 sagittal, so many of each.

    In another plane a kernel meets other axes than those that it was learnt on. The kernels that
    change most when turned and mirrored stay axial: those with the least share of energy left in
    the mean of a kernel's eight turned and mirrored copies. Of the rest, those that vary more from
    column to column than from row to row become coronal, where columns still stand for width;
    the others sagittal. Equal kernels keep their order.

    Args:
        kernels: (U, M, K, K), the M kernels of each of the U output channels, or groups.
        counts: how many become axial, coronal and sagittal; U together.

    Returns:
        (U,), on the CPU.
    """
    kernels = kernels.detach().to("cpu", torch.float64)
    even = (kernels + kernels.mT) / 2
    for axis in (-1, -2):
        even = (even + even.flip(axis)) / 2
    left = _energy(even) / _energy(kernels).clamp(min=1e-300)
    across = _energy(kernels - kernels.mean(-1, keepdim=True))
    down = _energy(kernels - kernels.mean(-2, keepdim=True))
    lean = (down - across) / (down + across).clamp(min=1e-300)
    order = left.round(decimals=9).argsort(stable=True)  # so that rounding decides nothing
    planes = torch.full((len(kernels),), AXIAL)
    rest = order[counts[AXIAL] :].sort().values
    rest = rest[lean[rest].round(decimals=9).argsort(stable=True)]
    planes[rest[: counts[CORONAL]]] = CORONAL
    planes[rest[counts[CORONAL] :]] = SAGITTAL
    return planes


def _energy(kernels: Tensor) -> Tensor:
    return kernels.square().flatten(1).sum(1)


def _judge_2d_checkpoint(conv: nn.Module, state_dict: dict, prefix: str, *rest: Any) -> None:
    """Gives a checkpoint without planes those that its kernels ask for."""
    planes, weight = f"{prefix}fusion.planes", state_dict.get(f"{prefix}weight")
    if planes in state_dict or weight is None or weight.shape != conv.weight.shape:
        return
    if isinstance(conv.fusion, ChannelPlanes):
        state_dict[planes] = conv.fusion.by_kernel(weight)
