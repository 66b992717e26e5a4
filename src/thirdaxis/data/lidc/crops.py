"""Crops around nodules at 1 mm, as the experiments on LIDC-IDRI store them."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from thirdaxis.atomic import atomic_path
from thirdaxis.data.images import nifti_image
from thirdaxis.data.lidc.nodules import Nodule

LOWEST_HU, HIGHEST_HU = -1024, 400
MARGIN = 12
"""Voxels around a crop that its cubic splines may reach."""


def crop_affine(nodule: Nodule, affine: np.ndarray, side: int) -> np.ndarray:
    """The grid of a crop: cubic, 1 mm, along the patient's axes as CT slices are stored.

    Args:
        nodule: its box's centre becomes the centre of voxel (side // 2, side // 2, side // 2).
        affine: (4, 4), voxel (d, h, w, 1) of the scan to RAS+ mm.
        side: voxels along each axis.

    Returns:
        (4, 4), voxel (d, h, w, 1) of the crop to RAS+ mm; d runs up, h back, w to the left.
    """
    centre = np.add(nodule.corner, (np.array(nodule.mask.shape) - 1) / 2)
    grid = np.eye(4)
    grid[:3, :3] = [[0, 0, -1], [0, -1, 0], [1, 0, 0]]
    grid[:3, 3] = affine[:3, :3] @ centre + affine[:3, 3] - grid[:3, :3].sum(axis=1) * (side // 2)
    return grid


def crop_image(scan: np.ndarray, affine: np.ndarray, grid: np.ndarray, side: int) -> np.ndarray:
    """Samples a scan on a crop's grid by cubic splines; beyond its border the border goes on.

    Args:
        scan: (D, H, W) in HU.
        affine: (4, 4), its voxels to mm.
        grid: (4, 4), the crop's voxels to mm.
        side: voxels of the crop along each axis.

    Returns:
        (side, side, side) int16, HU within -1024 to 400.
    """
    values = _sample(scan, affine, grid, side, order=3, mode="nearest")
    return np.clip(np.rint(values), LOWEST_HU, HIGHEST_HU).astype(np.int16)


def crop_mask(nodule: Nodule, affine: np.ndarray, grid: np.ndarray, side: int) -> np.ndarray:
    """Samples a nodule's mask on a crop's grid and closes it with a ball of radius 1.

    Args:
        nodule: its mask lies in the scan.
        affine: (4, 4), the scan's voxels to mm.
        grid: (4, 4), the crop's voxels to mm.
        side: voxels of the crop along each axis.

    Returns:
        (side, side, side) uint8, 1 in the nodule.
    """
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ nodule.corner
    part = _sample(nodule.mask.astype(np.float32), moved, grid, side, order=1, mode="constant")
    inside = part >= 0.5
    ball = ndimage.generate_binary_structure(3, 1)
    return (inside | ndimage.binary_closing(inside, ball)).astype(np.uint8)


def write_crop(path: Path, array: np.ndarray, grid: np.ndarray) -> None:
    """Writes a crop as NIfTI, whole or not at all.

    Args:
        path: a .nii.gz file; its folder must exist.
        array: (D, H, W) whole numbers.
        grid: (4, 4), its voxels to RAS+ mm.
    """
    with atomic_path(path) as temporary:
        nifti_image(array, grid).to_filename(temporary)


def _sample(
    array: np.ndarray, affine: np.ndarray, grid: np.ndarray, side: int, order: int, mode: str
) -> np.ndarray:
    step = np.linalg.solve(affine, grid)  # voxel of the crop -> voxel of the array
    ends = np.array(np.meshgrid(*[[0, side - 1]] * 3, [1])).reshape(4, -1)
    reach = (step @ ends)[:3]
    low = np.clip(np.floor(reach.min(axis=1)).astype(int) - MARGIN, 0, np.array(array.shape) - 1)
    high = np.clip(np.ceil(reach.max(axis=1)).astype(int) + MARGIN + 1, low + 1, array.shape)
    part = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    sampled = ndimage.affine_transform(
        part.astype(np.float32),
        step[:3, :3],
        offset=step[:3, 3] - low,
        output_shape=(side,) * 3,
        order=order,
        mode=mode,
    )
    return np.asarray(sampled)
