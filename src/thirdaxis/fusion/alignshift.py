"""AlignShift: channels are shifted by a distance in millimetres, whatever the slice thickness."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from thirdaxis.axes import Geometry
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.shift import Shift
from thirdaxis.fusion.thickness import reach

BORDERS = ("keep", "zero")


@dataclass(frozen=True)
class AlignShift(Shift):
    """``x'[d] = a x[d + 1] + (1 - a) x[d]`` in the first eighth of the input channels.

    In the next eighth ``x'[d] = a x[d - 1] + (1 - a) x[d]``; then a 1 x K x K convolution with the
    2D kernel. ``a = min(1, reference / thickness)``: thin slices shift as under TSM, thick ones by
    the same distance in millimetres. Each volume of a batch has its own thickness, given by
    ``net3d(x, thickness=...)``, (N,) in mm. It holds for every layer, also where depth is strided,
    for there the reference network's slices lie further apart too. A thickness that is NaN or not
    positive is unknown and shifts nothing (a = 0), as an infinite one does.

    Source: Yang et al., "AlignShift: Bridging the Gap of Imaging Thickness in 3D Anisotropic
    Volumes", MICCAI 2020. Its algorithm pads with zeros; its code leaves the end slices as they
    are, and clamps ``a`` to 1. The eighths and the 2 mm are those of the code.

    Attributes:
        reference: thickness that a shift by one whole slice stands for, in mm.
        border: ``"keep"`` leaves the end slices unshifted, ``"zero"`` mixes zeros into them.

    Raises:
        UsageError: a reference that is not positive, or an unknown border.
    """

    name: ClassVar[str] = "alignshift"
    runs: ClassVar[str] = "1×K×K, after a shift of 1/8 + 1/8 of the input channels by so many mm"
    fixed_point: ClassVar[str] = (
        'at the reference thickness and with `border="zero"` equals `tsm`; very thick slices equal '
        "`slicewise`"
    )
    reference: float = 2.0
    border: str = "keep"

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if not self.reference > 0:
            raise UsageError(f"alignshift: reference is positive, in mm, got {self.reference!r}")
        if self.border not in BORDERS:
            guess = did_you_mean(str(self.border), BORDERS)
            raise UsageError(f"alignshift: unknown border {self.border!r}{guess}")

    @property
    def needs_thickness(self) -> bool:
        """Always."""
        return True

    def mixed(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Shifts by the share of a slice that the thickness of each volume asks for.

        Raises:
            InputError: no thickness was given.
        """
        share = reach(geometry, self.reference, self.name).to(x).view(-1, 1, 1, 1, 1)
        count = self.moved(x)
        if count == 0:
            return x
        first, second = x[:, :count], x[:, count : 2 * count]
        if self.border == "zero":
            ahead = F.pad(first[:, :, 1:], (0, 0, 0, 0, 0, 1))
            back = F.pad(second[:, :, :-1], (0, 0, 0, 0, 1, 0))
        else:
            ahead = torch.cat([first[:, :, 1:], first[:, :, -1:]], 2)
            back = torch.cat([second[:, :, :1], second[:, :, :-1]], 2)
        moved = [torch.lerp(first, ahead, share), torch.lerp(second, back, share)]
        return torch.cat([*moved, x[:, 2 * count :]], 1)
