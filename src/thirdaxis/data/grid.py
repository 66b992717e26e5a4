"""Every change of grid: turning axes, changing spacing, and the way back to a scan's own grid."""

import math
from collections.abc import Sequence
from typing import cast

import nibabel.orientations as turns
import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.spatial.array import SpatialResample
from torch import Tensor

from thirdaxis.data.volume import Volume
from thirdaxis.errors import InputError, UsageError

CANONICAL = "SPL"
"""Arrays (D, H, W) as the tasks use them: inferior to superior, anterior to posterior, right to
left; D runs along the axial slices."""

SLAB_VOXELS = 2**22
EXACT_IN_FLOAT32 = 2**24


def to_grid(
    volume: Volume,
    orientation: str = CANONICAL,
    spacing: Sequence[float | None] | None = None,
    mode: str | None = None,
) -> Volume:
    """Turns a volume to the nearest orientation, then resamples it to a spacing.

    Turning only permutes and flips axes: an oblique scan stays oblique. A new spacing keeps the
    field of view centred, its size rounded to whole voxels.

    Args:
        volume: (C, D, H, W).
        orientation: where d, h and w run to, one letter each of L/R, P/A, I/S, such as "SPL".
        spacing: millimetres along the new (d, h, w); None keeps the volume's own, along all axes or
            along one.
        mode: "bilinear" or "nearest"; None takes nearest for whole numbers, else bilinear.

    Returns:
        The volume on its new grid, in its own type (bilinear makes whole numbers float32).

    Raises:
        UsageError: on an unknown orientation or mode, or a spacing that is not positive.
        InputError: on whole numbers beyond 2^24, which the interpolation cannot hold.
    """
    turned = _turn(volume, orientation)
    if spacing is None:
        return turned
    wanted = tuple(
        float(own if step is None else step)
        for step, own in zip(spacing, turned.spacing, strict=False)
    )
    if len(spacing) != 3 or not all(math.isfinite(step) and step > 0 for step in wanted):
        raise UsageError(f"spacing is three positive lengths in mm (d, h, w), not {spacing!r}")
    shape, affine = _respace(turned, wanted)
    return _sample(turned, affine, shape, mode)


def onto(volume: Volume, like: Volume, mode: str | None = None) -> Volume:
    """Brings a volume onto the exact grid of another, such as a prediction onto its scan.

    Where the two grids have the same voxels up to permuted and flipped axes, nothing is
    interpolated. Places outside the volume take its nearest border value.

    Args:
        volume: (C, D, H, W), any number of channels.
        like: the volume that gives (D, H, W) and the affine.
        mode: as in `to_grid`.

    Returns:
        The volume on the grid of `like`, in its own type (bilinear makes whole numbers float32).

    Raises:
        UsageError: on an unknown mode.
        InputError: as in `to_grid`.
    """
    return _sample(volume, like.affine, like.shape, mode)


def turned_grid(
    shape: Sequence[int], affine: Tensor, orientation: str = CANONICAL
) -> tuple[tuple[int, int, int], Tensor]:
    """Where a volume lies once it is turned, without its voxels.

    Args:
        shape: (D, H, W).
        affine: (4, 4), voxel index (d, h, w, 1) to mm, RAS+.
        orientation: as in `to_grid`.

    Returns:
        Shape and affine of the turned volume.

    Raises:
        UsageError: on an unknown orientation.
    """
    try:
        target = turns.axcodes2ornt(tuple(orientation.upper()))
    except (KeyError, ValueError):
        target = np.full((3, 2), np.nan)
    if sorted(target[:, 0]) != [0, 1, 2]:
        raise UsageError(
            f"orientation is three letters, one of each pair L/R, P/A and I/S (such as "
            f"{CANONICAL!r}), not {orientation!r}"
        )
    change = turns.ornt_transform(turns.io_orientation(affine.numpy()), target)
    depth, height, width = (int(shape[int(axis)]) for axis in np.argsort(change[:, 0]))
    turned = affine @ torch.from_numpy(turns.inv_ornt_aff(change, tuple(shape)))
    return (depth, height, width), turned


def _turn(volume: Volume, orientation: str) -> Volume:
    shape, affine = turned_grid(volume.shape, volume.affine, orientation)
    same = _same_voxels(volume, affine, shape)
    assert same is not None  # a turn is a permutation with flips
    return Volume(same, affine)


def _respace(volume: Volume, spacing: Sequence[float]) -> tuple[tuple[int, ...], Tensor]:
    """The grid of a new spacing over the same, centred field of view."""
    old = torch.tensor(volume.spacing, dtype=torch.float64)
    new = torch.tensor(spacing, dtype=torch.float64)
    sizes = torch.tensor(volume.shape, dtype=torch.float64)
    shape = (sizes * old / new).round().clamp(min=1)
    affine = volume.affine.clone()
    affine[:3, :3] *= new / old
    centre = volume.affine[:3, :3] @ ((sizes - 1) / 2)
    affine[:3, 3] += centre - affine[:3, :3] @ ((shape - 1) / 2)
    return tuple(int(n) for n in shape), affine


def _same_voxels(volume: Volume, affine: Tensor, shape: Sequence[int]) -> Tensor | None:
    """The array permuted and flipped to another grid, None where the grids' voxels differ."""
    step = torch.linalg.solve(volume.affine, affine)  # new voxel index -> old voxel index
    turn = step[:3, :3].round()
    once = torch.ones(3, dtype=torch.float64)
    if not (torch.equal(turn.abs().sum(0), once) and torch.equal(turn.abs().sum(1), once)):
        return None
    order = turn.abs().argmax(dim=0).tolist()
    if [volume.shape[axis] for axis in order] != list(shape):
        return None
    ends = [torch.tensor([0.0, n - 1.0], dtype=torch.float64) for n in shape]
    corners = torch.cartesian_prod(*ends, torch.ones(1, dtype=torch.float64))
    exact = torch.eye(4, dtype=torch.float64)
    exact[:3, :3] = turn
    old_sizes = torch.tensor(volume.shape, dtype=torch.float64)
    exact[:3, 3] = torch.where(turn.sum(dim=1) < 0, old_sizes - 1, 0.0)
    if (corners @ (step - exact).T).abs().max() > 1e-3:
        return None
    flips = [1 + new for new, old in enumerate(order) if turn[old, new] < 0]
    return volume.array.permute(0, *(1 + axis for axis in order)).flip(flips).contiguous()


def _sample(volume: Volume, affine: Tensor, shape: Sequence[int], mode: str | None) -> Volume:
    if mode not in (None, "bilinear", "nearest"):
        raise UsageError(f"mode is 'bilinear' or 'nearest', not {mode!r}")
    same = _same_voxels(volume, affine, shape)
    if same is not None:
        return Volume(same, affine.clone())
    kind = volume.array.dtype
    if mode is None:
        mode = "bilinear" if kind.is_floating_point else "nearest"
    out_kind = torch.float32 if mode == "bilinear" and not kind.is_floating_point else kind
    if kind == torch.int64 and volume.array.abs().max() > EXACT_IN_FLOAT32:
        raise InputError(
            f"whole numbers beyond {EXACT_IN_FLOAT32} cannot be resampled; renumber them"
        )
    sample = SpatialResample(
        mode=mode, padding_mode="border", align_corners=False, dtype=np.float32
    )
    # In voxel units, for MONAI takes affines within 0.001 as equal, a whole voxel in microscopy.
    source = MetaTensor(volume.array, affine=torch.eye(4, dtype=torch.float64))
    step = torch.linalg.solve(volume.affine, affine)
    array = volume.array.new_empty((volume.array.shape[0], *shape), dtype=out_kind)
    # Slabs, for the coordinates take up to 28 bytes a voxel.
    thick = max(1, SLAB_VOXELS // (shape[1] * shape[2]))
    for start in range(0, shape[0], thick):
        stop = min(start + thick, shape[0])
        corner = step.clone()
        corner[:3, 3] += start * step[:3, 0]
        slab = sample(source, dst_affine=corner, spatial_size=(stop - start, *shape[1:]))
        array[:, start:stop] = cast(MetaTensor, slab).as_tensor().to(out_kind)
    return Volume(array, affine.clone())
