"""Flatten3D: attention over the tokens of all slices in one sequence."""

from dataclasses import dataclass
from typing import ClassVar

from thirdaxis.fusion.by_block import ByBlock


@dataclass(frozen=True)
class Flatten3D(ByBlock):
    """Every block of a transformer sees the tokens of the whole volume at once.

    The tokens (D, N, H * W, C) of the slices become one sequence (N, D * H * W, C), behind one set
    of class and register tokens for the volume. No parameter more, but attention costs D times as
    much. Of rotary positions, each fourth frequency of the rows and each fourth of the columns turn
    with depth instead. Positions that were added to the tokens before the blocks are alike in
    all slices. For networks whose blocks take sequences of tokens.

    Source: the comparison of that name in Yu, Li and Yang, "PlaneCycle: Training-Free 2D-to-3D
    Lifting of Foundation Models Without Adapters", arXiv 2603.04165, 2026. Its code gives depth a
    quarter of the frequencies too, but spreads the frequencies of each axis anew.
    """

    name: ClassVar[str] = "flatten3d"
    needs_attention: ClassVar[bool] = True
    runs: ClassVar[str] = "1×K×K: attention over all D·H·W tokens in one sequence"
    fixed_point: ClassVar[str] = (
        "a block of linear layers without positions equals it on the volume's tokens; a single "
        "slice without rotary positions equals `slicewise`"
    )

    def plane(self, number: int) -> str:
        """All axes."""
        return "DHW"

    @property
    def pooling(self) -> str:
        """One set of tokens for the volume."""
        return "mean"
