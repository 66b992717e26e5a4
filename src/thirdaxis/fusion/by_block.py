"""Operators that act on whole blocks of a network: between blocks another axis is hidden."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from thirdaxis.axes import Geometry
from thirdaxis.errors import UsageError
from thirdaxis.fusion.base import OnSlices


@dataclass(frozen=True)
class ByBlock(OnSlices):
    """Settings of an operator without parameters that acts on the blocks which a network repeats.

    Kernels act slice by slice, inside a block on the planes that the block is given.

    Attributes:
        blocks: names of the blocks, or patterns of names as in a shell (``"blocks.*"``); None finds
            them, see `thirdaxis.convert.blocks`.
        prefix: how many class and register tokens stand before the tokens of the picture; None
            asks the network.

    Raises:
        UsageError: blocks that are no names, or a negative prefix.
    """

    mixes_slices: ClassVar[bool] = False
    keeps_depth: ClassVar[bool] = True
    blocks: tuple[str, ...] | None = field(default=None, kw_only=True)
    prefix: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Checks the settings."""
        named = self.blocks
        if named is not None:
            named = (named,) if isinstance(named, str) else tuple(named)
            if not named or not all(isinstance(name, str) for name in named):
                raise UsageError(f"{self.name}: blocks takes names, got {self.blocks!r}")
            object.__setattr__(self, "blocks", named)
        if self.prefix is not None and (type(self.prefix) is not int or self.prefix < 0):
            raise UsageError(f"{self.name}: prefix is a number of tokens, got {self.prefix!r}")

    @abstractmethod
    def plane(self, number: int) -> str:
        """Axes that a block works on, by its place among the blocks: of D, H and W, in order."""

    @property
    def pooling(self) -> str:
        """What becomes of tokens without a place: ``"group"`` or ``"mean"``."""
        return "group"

    def reaches(self, geometry: Geometry) -> bool:
        """Kernels of any sides, for each acts in the planes of its block."""
        return not geometry.pointwise
