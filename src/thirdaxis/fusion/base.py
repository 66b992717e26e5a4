"""What every fusion operator is: settings, and a module where it has parameters of its own."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import nn

from thirdaxis.axes import Geometry, Pair
from thirdaxis.fusion.depth import convolve_slices, transpose_slices


@dataclass(frozen=True)
class Layer:
    """The convolution that an operator with parameters of its own belongs to.

    Attributes:
        in_channels: channels that it takes.
        out_channels: channels that it makes.
        kernel: side of its square kernel, or height and width of another.
        groups: its groups.
        transposed: whether it is a transposed convolution.
        slices: slices of its input, where the operator fixes their number.
        like: its 2D kernel, of the dtype and on the device that parameters are to have.
    """

    in_channels: int
    out_channels: int
    kernel: Pair
    groups: int
    transposed: bool
    slices: int
    like: torch.Tensor


class Acting(ABC):
    """What convolves volumes: settings alone, or with parameters of their own."""

    @abstractmethod
    def convolve(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
    ) -> torch.Tensor:
        """Convolves a volume with the stored kernel."""

    @abstractmethod
    def convolve_transposed(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
    ) -> torch.Tensor:
        """Transposed convolution of a volume with the stored kernel."""

    def stored(self, weight: torch.Tensor) -> torch.Tensor:
        """The kernel that the converted layer keeps as its parameter: the 2D one, unless said."""
        return weight

    def cost(self, weight: torch.Tensor) -> int:
        """Multiply-accumulates for one position of the output, given the stored kernel."""
        return weight.numel()


class Mixing(Acting):
    """What mixes the slices of a volume, and then convolves each."""

    @abstractmethod
    def mixed(self, x: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        """(N, C, D, H, W) with its slices mixed."""

    def convolve(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
    ) -> torch.Tensor:
        """Convolves every slice of the mixed (N, C, D, H, W)."""
        return convolve_slices(self.mixed(x, geometry), weight, bias, geometry)

    def convolve_transposed(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
    ) -> torch.Tensor:
        """Transposed convolution of every slice of the mixed (N, C, D, H, W)."""
        return transpose_slices(self.mixed(x, geometry), weight, bias, geometry)


@dataclass(frozen=True)
class Fusion(Acting):
    """Settings of a fusion operator: how a 2D convolution looks along the third axis.

    An operator is a frozen dataclass that says what a kernel does to a volume. Kernels that it does
    not reach act slice by slice. Volumes are (N, C, D, H, W), kernels (C_out, C_in / groups, K, K),
    or (C_in, C_out / groups, K, K) when transposed.

    Attributes:
        name: what `convert` calls it.
        mixes_slices: whether it looks along depth at all.
        owns_parameters: whether each convolution gets an `Operator` with parameters beside the
            kernel.
        needs_attention: whether it acts on attention alone, so that a network must have some.
        keeps_depth: whether every slice is kept unless the caller says otherwise.
        runs: for the table of operators: kernels that run on (D, H, W).
        extra: for the table: parameters more than the 2D convolution has.
        fixed_point: for the table: the identity that proves it.
    """

    name: ClassVar[str]
    mixes_slices: ClassVar[bool] = True
    owns_parameters: ClassVar[bool] = False
    needs_attention: ClassVar[bool] = False
    keeps_depth: ClassVar[bool] = False
    runs: ClassVar[str] = ""
    extra: ClassVar[str] = "none"
    fixed_point: ClassVar[str] = ""

    def __str__(self) -> str:
        """The settings that are not the default ones."""
        told = ((f, getattr(self, f.name)) for f in fields(self))
        changed = [f"{f.name}={value!r}" for f, value in told if value != f.default]
        return f"{type(self).__name__}({', '.join(changed)})"

    def reaches(self, geometry: Geometry) -> bool:
        """Whether it does anything to such a kernel: square ones larger than 1 x 1, unless said."""
        return geometry.square and not geometry.pointwise

    def fixed_depth(self) -> int | None:
        """Slices that volumes must have, where the operator's parameters fit no other number."""
        return None

    @property
    def needs_thickness(self) -> bool:
        """Whether a call of the network has to give the thickness of slices: not, unless said."""
        return False

    def operator(self, layer: Layer) -> "Operator | None":
        """The module that a convolution gets for the parameters of its operator, if there are any.

        Args:
            layer: the convolution.
        """
        return None


@dataclass(frozen=True)
class OnSlices(Fusion):
    """Settings of an operator whose convolutions, alone, fuse nothing."""

    def convolve(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
    ) -> torch.Tensor:
        """Convolves every slice of (N, C, D, H, W)."""
        return convolve_slices(x, weight, bias, geometry)

    def convolve_transposed(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
    ) -> torch.Tensor:
        """Transposed convolution of every slice of (N, C, D, H, W)."""
        return transpose_slices(x, weight, bias, geometry)


@dataclass(frozen=True)
class OwningFusion(OnSlices):
    """Settings of an operator whose parameters a convolution owns.

    They act alone on kernels that belong to no ``nn.Conv2d``, which `report` names.
    """

    owns_parameters: ClassVar[bool] = True


class Operator(nn.Module, Acting):
    """An operator with parameters of its own: a child, named ``fusion``, of a convolution.

    It answers what `Fusion` answers, for that one convolution.

    Attributes:
        settings: the settings that it was made from.
        replaces_kernel: whether the convolution's weight is another than the 2D kernel.
    """

    mixes_slices = True
    replaces_kernel = False
    owns_parameters = False  # beyond those that are here

    def __init__(self, settings: Fusion) -> None:
        super().__init__()
        self.settings = settings

    def reaches(self, geometry: Geometry) -> bool:
        """As the settings say."""
        return self.settings.reaches(geometry)

    def adopt(self, conv: nn.Module) -> None:
        """Is called once with the convolution that got it; does nothing, unless said."""

    def extra_repr(self) -> str:
        """The settings."""
        return str(self.settings)
