"""PlaneCycle: each block of a 2D network works on planes of one orientation, in turn."""

from dataclasses import dataclass
from typing import ClassVar

from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.by_block import ByBlock

PLANES = ("HW", "DW", "DH")
TOKENS = ("group", "mean")


@dataclass(frozen=True)
class PlaneCycle(ByBlock):
    """Block ``k`` of the network runs on the planes ``order[k % len(order)]`` of the volume.

    On planes DW, each row of the volume (N, C, D, H, W) is one more sample of the block, with D as
    its height: attention and kernels inside look along depth. Depth, height and width stay; what
    is between the blocks runs slice by slice, and so do blocks that change height and width. No
    parameter, no multiplication more for convolutions, and no training.

    Class and register tokens belong to a slice. Before a block they are resampled along the axis
    that its planes leave out, and after it back to D: by adaptive average pooling (``"group"``, the
    paper's PCg), or they are replaced by their mean first (``"mean"``, its PCm). Rotary positions
    are computed anew for the two sides of the plane.

    A network without repeated blocks takes turns by convolution: each that is larger than 1 x 1 and
    keeps height and width counts as a block. That is beyond the paper.

    Source: Yu, Li and Yang, "PlaneCycle: Training-Free 2D-to-3D Lifting of Foundation Models
    Without Adapters", arXiv 2603.04165, 2026, for the ViT and ConvNeXt of DINOv3. The order is that
    of its code, a period of four. Its code leaves the tokens of a block as many as the block has
    planes until the next one; here they are D again after each block, which differs where neither
    number divides the other.

    Attributes:
        order: planes of the blocks in turn, each ``"HW"``, ``"DW"`` or ``"DH"``.
        tokens: ``"group"`` or ``"mean"``.

    Raises:
        UsageError: an unknown plane or way, or no plane.
    """

    name: ClassVar[str] = "planecycle"
    runs: ClassVar[str] = "1×K×K, K×1×K or K×K×1: attention and kernels of a block in its planes"
    fixed_point: ClassVar[str] = 'with `order=("HW",)` equals `slicewise`'
    order: tuple[str, ...] = ("HW", "DW", "DH", "HW")
    tokens: str = "group"

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        order = (self.order,) if isinstance(self.order, str) else tuple(self.order)
        if not order:
            raise UsageError(f"planecycle: order takes planes of {', '.join(PLANES)}, got none")
        for plane in order:
            if plane not in PLANES:
                guess = did_you_mean(str(plane), PLANES)
                raise UsageError(f"planecycle: unknown plane {plane!r}{guess}")
        if self.tokens not in TOKENS:
            guess = did_you_mean(str(self.tokens), TOKENS)
            raise UsageError(f"planecycle: unknown tokens {self.tokens!r}{guess}")
        object.__setattr__(self, "order", order)

    def plane(self, number: int) -> str:
        """The plane whose turn it is."""
        return self.order[number % len(self.order)]

    @property
    def pooling(self) -> str:
        """As the settings say."""
        return self.tokens
