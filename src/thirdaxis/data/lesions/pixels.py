"""Hounsfield units to the pixel values that lesion detectors are given."""

import numpy as np
import torch
from torch import Tensor

from thirdaxis.data.intensity import Window

WINDOW_HU = (-1024.0, 2050.0)
SHIFT = -50.0


def slice_pixels(
    hu: Tensor | np.ndarray, window: tuple[float, float] = WINDOW_HU, shift: float = SHIFT
) -> Tensor:
    """The scale of the detectors on DeepLesion: a window of HU to 0 to 255, then shifted.

    With the defaults values lie within -50 to 205, as in Yang et al., "Asymmetric 3D context
    fusion for universal lesion detection", MICCAI 2021.

    Args:
        hu: any shape.
        window: HU that become `shift` and 255 + `shift`; what lies beyond is cut.
        shift: added to 0 to 255.

    Returns:
        float32 of the same shape.

    Raises:
        UsageError: a window that does not go up.
    """
    return Window(*window)(torch.as_tensor(hu)) * 255 + shift
