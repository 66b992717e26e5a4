"""Distance between the surfaces of two label maps, in millimetres."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from torch import Tensor

from thirdaxis.errors import InputError


def hd95(
    prediction: Tensor, truth: Tensor, spacing_mm: Sequence[float], classes: Sequence[int]
) -> dict[int, float]:
    """95th percentile Hausdorff distance of each class in one case.

    A surface is the voxels of a mask with a face neighbour outside it; the volume's border counts
    as outside. From each surface voxel the distance to the nearest one of the other surface is
    taken, the 95th percentile of each direction, and the larger of the two.

    Source: Huttenlocher et al., Comparing Images Using the Hausdorff Distance, 1993.

    Args:
        prediction: (D, H, W) whole numbers.
        truth: (D, H, W) whole numbers.
        spacing_mm: distance of voxel centres along (d, h, w) in mm.
        classes: label values to score.

    Returns:
        For each class the distance in mm; nan where neither map has the class, inf where exactly
        one has it.

    Raises:
        InputError: where the shapes differ or are not 3-D.
    """
    if prediction.shape != truth.shape or prediction.ndim != 3 or len(spacing_mm) != 3:
        raise InputError(
            f"expected two (D, H, W) label maps of one shape and three spacings, not "
            f"{tuple(prediction.shape)}, {tuple(truth.shape)} and {tuple(spacing_mm)}"
        )
    mine, its = prediction.detach().cpu().numpy(), truth.detach().cpu().numpy()
    return {value: _distance(mine == value, its == value, spacing_mm) for value in classes}


def _distance(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float]) -> float:
    if not a.any() and not b.any():
        return math.nan
    if not a.any() or not b.any():
        return math.inf
    box = ndimage.find_objects((a | b).astype(np.uint8))[0]
    a_skin, b_skin = _surface(a[box]), _surface(b[box])
    to_b = ndimage.distance_transform_edt(~b_skin, sampling=spacing_mm)[a_skin]
    to_a = ndimage.distance_transform_edt(~a_skin, sampling=spacing_mm)[b_skin]
    return float(max(np.percentile(to_b, 95), np.percentile(to_a, 95)))


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask)
