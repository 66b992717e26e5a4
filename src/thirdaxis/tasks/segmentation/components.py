"""Connected parts of a label map."""

from collections.abc import Iterable

import numpy as np
from scipy import ndimage
from torch import Tensor


def keep_largest(labels: Tensor, values: Iterable[int]) -> Tensor:
    """Gives all but the largest connected component of each label to the background, in place.

    Voxels that share a corner are connected. Of equally large components the first one is kept.

    Source: the post-processing of the liver in Zhang et al., Advancing 3D Medical Image Analysis
    with Variable Dimension Transform based Supervised 3D Pre-training, 2022.

    Args:
        labels: (D, H, W) label values, on the CPU.
        values: the labels that are one piece.

    Returns:
        `labels`.
    """
    array = labels.numpy()
    boxes = ndimage.find_objects(array)
    for value in values:
        if value > len(boxes) or (box := boxes[value - 1]) is None:
            continue
        inside = array[box]
        parts, count = ndimage.label(inside == value, structure=np.ones((3, 3, 3)))
        if count > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            inside[(parts != 0) & (parts != sizes.argmax())] = 0
    return labels
