"""Axis order and the rules that turn a 2D geometry into a 3D one.

Arrays are (N, C, D, H, W): batch, channel, depth (the slice axis), height, width. Nothing else in
the package decides how a pair of numbers for height and width extends to depth.

The depth rule: whatever its kernel and padding, an operation of depth stride ``s`` maps ``D``
slices to ``ceil(D / s)``, so that parallel branches of a network agree. Output slice ``i`` looks at
the window that starts at slice ``i * s - left``; slices outside the volume are zeros (or what the
layer's padding mode says). ``left`` is half the kernel where the layer pads its plane by half the
kernel, so that the result equals the ordinary 3D convolution; elsewhere the window is centred on
the ``s`` slices that the output slice stands for: ``max(0, (span - s) // 2)``. A kernel of one tap
along depth reads slice ``i * s``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from thirdaxis.errors import UsageError

DEPTH, HEIGHT, WIDTH = 2, 3, 4

Pair = tuple[int, int]


def known(condition: bool | torch.SymBool) -> bool:
    """Whether a comparison of sizes holds; in an export for any size, whether it always does.

    Asking a symbolic size in the ordinary way would bind the graph to sizes that answer alike. That
    is right for a compiled graph, which is made again for other sizes.
    """
    if not isinstance(condition, torch.SymBool) or not torch.compiler.is_exporting():
        return bool(condition)
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # brings sympy

    return statically_known_true(condition)


def alike(size: int, other: int) -> bool:
    """Whether two sizes agree; exported ones do if they always do, or if they do in the example.

    The exported graph is then bound to sizes for which they agree.
    """
    if type(size) is type(other) is int:
        return size == other
    return known(size == other) or (in_example(size) == in_example(other) and bool(size == other))


def in_example(size: int) -> int:
    """A size in the example that a graph is traced with."""
    return size.node.hint if isinstance(size, torch.SymInt) else size


def channels_as_slices(pictures: torch.Tensor) -> torch.Tensor:
    """The variable dimension transform: the channels of pictures become slices of one channel.

    Source: Zhang et al., "Advancing 3D Medical Image Analysis with Variable Dimension Transform
    based Supervised 3D Pre-training" (SVD-Net), 2022: a colour photograph is a volume of three
    slices, on which 3D kernels can learn.

    Args:
        pictures: (N, C, H, W), or one (C, H, W); any number of channels.

    Returns:
        (N, 1, C, H, W), or (1, C, H, W): a view.

    Raises:
        UsageError: another number of axes.
    """
    if pictures.dim() not in (3, 4):
        raise UsageError(
            f"channels_as_slices takes (N, C, H, W) or (C, H, W), got {tuple(pictures.shape)}"
        )
    return pictures.unsqueeze(-4)


def pair(value: int | Sequence[int]) -> Pair:
    """``3`` or ``(3,)`` or ``(3, 5)`` as the two numbers for height and width."""
    if isinstance(value, tuple) and len(value) == 2:
        return value
    if isinstance(value, Sequence):
        return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])
    return (value, value)


def shared_stride(stride: Pair, depth_stride: bool) -> int:
    """Stride along depth: as in the plane where depth follows it (the smaller of two), else 1."""
    return min(stride) if depth_stride else 1


def strided(depth: int, stride: int) -> int:
    """Slices left after a stride: ``ceil(depth / stride)``."""
    return (depth - 1) // stride + 1


def depth_window(span: int, stride: int, half: bool) -> Pair:
    """Slices to add before and after so that the depth rule holds for every depth.

    Args:
        span: slices that the kernel reaches over, ``dilation * (kernel - 1) + 1``.
        stride: stride along depth.
        half: whether the layer pads its plane by half its kernel.
    """
    left = (span - 1) // 2 if half else max(0, (span - stride) // 2)
    return left, span - 1 - left


@dataclass(frozen=True)
class Geometry:
    """What a 2D convolution does in its plane, and how far it strides along depth.

    Attributes:
        kernel: kernel height and width.
        stride: stride of height and width.
        padding: padding that the convolution itself adds on each side of height and width.
        dilation: dilation of height and width.
        groups: groups of the convolution.
        depth_stride: stride along depth.
        padded: padding that was added to the plane just before, by the layer's padding mode.
        pad_mode: how depth is filled beyond its ends, as in ``torch.nn.functional.pad``.
        output_padding: rows and columns added at the end of a transposed convolution.
        depth_out: slices that a transposed convolution has to return.
        thickness: distance between the slices of each volume of the batch, (N,) in mm, or None.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    depth_stride: int = 1
    padded: Pair = (0, 0)
    pad_mode: str = "constant"
    output_padding: Pair = (0, 0)
    depth_out: int = 0
    thickness: torch.Tensor | None = field(default=None, compare=False)

    @property
    def square(self) -> bool:
        """Whether the kernel can turn into another plane: same side and dilation on both axes."""
        return self.kernel[0] == self.kernel[1] and self.dilation[0] == self.dilation[1]

    @property
    def pointwise(self) -> bool:
        """Whether the kernel is a single tap, so that there is nothing to lift."""
        return self.kernel == (1, 1)

    def span(self, kernel: int) -> int:
        """Slices that ``kernel`` taps reach over at this dilation."""
        return self.dilation[0] * (kernel - 1) + 1

    @property
    def half(self) -> bool:
        """Whether height and width are padded by half the kernel."""
        return all(
            2 * (p + q) == d * (k - 1)
            for p, q, d, k in zip(
                self.padding, self.padded, self.dilation, self.kernel, strict=True
            )
        )

    def depth_window(self, kernel: int) -> Pair:
        """Slices to add before and after for a kernel of so many taps along depth."""
        return depth_window(self.span(kernel), self.depth_stride, self.half)

    def plane_out(self, axis: int, size: int) -> int:
        """Size of height (axis 0) or width (axis 1) after the convolution."""
        span = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (size + 2 * self.padding[axis] - span) // self.stride[axis] + 1

    def plane_out_transposed(self, axis: int, size: int) -> int:
        """Size of height (axis 0) or width (axis 1) after the transposed convolution."""
        span = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        grown = (size - 1) * self.stride[axis] + span + self.output_padding[axis]
        return grown - 2 * self.padding[axis]
