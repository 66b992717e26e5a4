"""TSM: a share of the channels is shifted by one slice, then every slice is convolved."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from thirdaxis.axes import Geometry
from thirdaxis.fusion.shift import Shift


@dataclass(frozen=True)
class TSM(Shift):
    """``x'[d] = x[d + 1]`` in the first C / 8 input channels, ``x[d - 1]`` in the next C / 8.

    Then a 1 x K x K convolution with the 2D kernel. Beyond the first and the last slice there are
    zeros. (N, C, D, H, W) to (N, C_out, D, H, W), no parameter and no multiplication more.

    Source: Lin, Gan and Han, "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV
    2019, which shifts before the first convolution of every residual block (overrides
    ``"@residual"``); Yang et al., "Asymmetric 3D Context Fusion", 2021, shift before both
    convolutions of every dense layer (``"@dense_layers"``). The eighths are those of the code.
    """

    name: ClassVar[str] = "tsm"
    fixed_point: ClassVar[str] = "a shift by one slice; with `fraction=0` equals `slicewise`"

    def mixed(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Shifts by one slice, zeros beyond the ends."""
        count = self.moved(x)
        if count == 0:
            return x
        ahead = F.pad(x[:, :count, 1:], (0, 0, 0, 0, 0, 1))
        back = F.pad(x[:, count : 2 * count, :-1], (0, 0, 0, 0, 1, 0))
        return torch.cat([ahead, back, x[:, 2 * count :]], 1)
