"""The first kernels of a network: how much of them differs from slice to slice."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from thirdaxis.errors import InputError, UsageError


def first_kernels(tensors: Mapping[str, Tensor]) -> Tensor:
    """The kernels that see the volume itself: the first in a file wider than one voxel.

    Args:
        tensors: of a network, in the order of its layers or by `conv1` for those of ResNets, as
            files of safetensors are in order of their names.

    Returns:
        ``(C_out, C_in, D, H, W)``, or ``(C_out, C_in, H, W)`` of a 2D network.

    Raises:
        InputError: there are no kernels.
    """
    kernels = {
        name: value
        for name, value in tensors.items()
        if value.ndim in (4, 5) and value.shape[-1] > 1 and name.endswith("weight")
    }
    if not kernels:
        raise InputError("no kernels wider than one voxel among these weights")
    for stem in ("conv1.weight", "conv1.0.weight"):
        at = [name for name in kernels if name == stem or name.endswith(f".{stem}")]
        outside = [name for name in at if "layer" not in name and "block" not in name]
        if outside:
            return kernels[min(outside, key=len)]
    return next(iter(kernels.values()))


def outside_mean(kernels: Tensor, taps: Sequence[int] | None = None) -> float:
    """Share of the energy of kernels that is outside their mean over depth.

    Kernels that were inflated from 2D (I3D) have 0. Independent draws of equal variance have
    ``(D - 1) / D`` on average: the value of a random start. Less says that slices are taken alike,
    more that differences between slices are looked for. With three slices, kernels of seven taps
    that keep depth never see anything but padding with their first and last tap; leave these out.

    Args:
        kernels: ``(C_out, C_in, D, H, W)``.
        taps: along depth, those that count; none takes all.

    Returns:
        0 to 1; of kernels of zeros 0.

    Raises:
        UsageError: other kernels, or taps that there are not.
    """
    seen = _seen(kernels, taps)
    total = seen.square().sum()
    if not total:
        return 0.0
    mean = seen.mean(2, keepdim=True)
    return float((seen - mean).square().sum() / total)


def energy_by_tap(kernels: Tensor) -> list[float]:
    """Share of the energy that each tap along depth has, the first slice first.

    Args:
        kernels: ``(C_out, C_in, D, H, W)``.

    Returns:
        Shares that sum to 1; the same for all of kernels of zeros.

    Raises:
        UsageError: other kernels.
    """
    seen = _seen(kernels, None)
    each = seen.square().sum((0, 1, 3, 4))
    total = each.sum()
    return (each / total).tolist() if total else [1 / len(each)] * len(each)


def _seen(kernels: Tensor, taps: Sequence[int] | None) -> Tensor:
    if kernels.ndim != 5:
        raise UsageError(
            f"kernels (C_out, C_in, D, H, W) are expected, not {tuple(kernels.shape)}; a 2D "
            "network has no depth to look along"
        )
    if taps is None:
        return kernels.double()
    if not taps or not all(0 <= tap < kernels.shape[2] for tap in taps):
        raise UsageError(f"taps {list(taps)} of kernels that have {kernels.shape[2]}")
    return kernels.double().index_select(2, torch.tensor(list(taps)))
