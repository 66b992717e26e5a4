"""No fusion: every slice is convolved on its own (also called 2.5D, or 1 x K x K)."""

from dataclasses import dataclass
from typing import ClassVar

from thirdaxis.fusion.base import OnSlices


@dataclass(frozen=True)
class Slicewise(OnSlices):
    """A K x K kernel becomes 1 x K x K; no convolution looks along depth.

    With ``depth_stride=False`` the converted network is exactly the 2D network on every slice.
    With ``depth_stride=True`` pooling takes in the slices that it strides over, as in the "2.5D"
    networks of Yang et al., "Reinventing 2D Convolutions for 3D Images", 2021, and "Asymmetric 3D
    Context Fusion for Universal Lesion Detection", 2021 ("no fusion").
    """

    name: ClassVar[str] = "slicewise"
    mixes_slices: ClassVar[bool] = False
    runs: ClassVar[str] = "1×K×K"
    fixed_point: ClassVar[str] = "without depth stride equals the 2D network on every slice"
