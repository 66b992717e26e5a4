"""P3D-63: a residual network of planar kernels and kernels along depth, three ways in turn."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import thirdaxis
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.i3d import I3D
from thirdaxis.fusion.slicewise import Slicewise
from thirdaxis.nets.resnet3d import NORMS
from thirdaxis.nets.starts import start_anew

ALONG = I3D(taps=3)
KINDS = "ABC"
Norm = Callable[[int], nn.Module]


def p3d(
    layout: str = "63",
    *,
    in_channels: int = 1,
    classes: int = 1000,
    depth_stride: bool = False,
    norm: str = "batch",
    start: str = "kaiming",
) -> nn.Module:
    """A pseudo-3D residual network on volumes, from a random start.

    Args:
        layout: ``"63"`` or ``"18ba"``, see `P3D`.
        in_channels: of the volumes.
        classes: outputs of the last layer.
        depth_stride: whether depth is halved where height and width are.
        norm: ``"batch"``, or ``"group"`` for group norms of 32 groups.
        start: see `thirdaxis.nets.starts.start_anew`.

    Returns:
        Takes ``(N, in_channels, D, H, W)``, gives ``(N, classes)``.

    Raises:
        UsageError: an unknown setting.
    """
    net = P3D(layout, in_channels=in_channels, classes=classes, norm=norm)
    net3d = thirdaxis.convert(net, "i3d", depth_stride=depth_stride)
    start_anew(net3d, start)
    return net3d


def _fused(
    kind: str, x: Tensor, plane: Callable[[Tensor], Tensor], along: Callable[[Tensor], Tensor]
) -> Tensor:
    """A: along after plane; B: both side by side; C: plane, and along after it added."""
    planar = plane(x)
    if kind == "B":
        return planar + along(x)
    return along(planar) if kind == "A" else planar + along(planar)


class _Block(nn.Module):
    """What both blocks share: a shortcut, and steps of convolution, norm and ReLU by number."""

    def __init__(self, kind: str, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.kind = kind
        self.downsample = shortcut

    def _step(self, number: int, x: Tensor) -> Tensor:
        conv, norm = getattr(self, f"conv{number}"), getattr(self, f"norm_{number}")
        return torch.relu(norm(conv(x)))

    def _pair(self, first: int, x: Tensor) -> Tensor:
        return _fused(self.kind, x, partial(self._step, first), partial(self._step, first + 1))

    def _joined(self, out: Tensor, x: Tensor) -> Tensor:
        return torch.relu(out + (x if self.downsample is None else self.downsample(x)))


class PseudoBottleneck(_Block):
    """1 × 1 × 1, then 1 × 3 × 3 and 3 × 1 × 1, then 1 × 1 × 1 convolutions.

    Args:
        into: channels that it takes.
        width: channels between; it gives four times as many.
        stride: of height and width, in the first convolution.
        kind: ``"A"``, ``"B"`` or ``"C"``.
        norm: makes a norm of so many channels.
        shortcut: what the input goes through before it is added.
    """

    expansion = 4
    lifted_as: ClassVar[dict[str, Fusion]] = {"conv2": Slicewise(), "conv3": ALONG}

    def __init__(
        self, into: int, width: int, stride: int, kind: str, norm: Norm, shortcut: nn.Module | None
    ) -> None:
        super().__init__(kind, shortcut)
        self.conv1, self.norm_1 = nn.Conv2d(into, width, 1, stride, bias=False), norm(width)
        self.conv2, self.norm_2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), norm(width)
        self.conv3, self.norm_3 = nn.Conv2d(width, width, 1, bias=False), norm(width)
        self.conv4, self.norm_4 = nn.Conv2d(width, 4 * width, 1, bias=False), norm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(N, into, H, W)`` to ``(N, 4 · width, H / stride, W / stride)``."""
        out = self._pair(2, self._step(1, x))
        return self._joined(self.norm_4(self.conv4(out)), x)


class PseudoBasic(_Block):
    """Two pairs of 1 × 3 × 3 and 3 × 1 × 1 convolutions; arguments as of `PseudoBottleneck`."""

    expansion = 1
    lifted_as: ClassVar[dict[str, Fusion]] = {
        "conv1": Slicewise(),
        "conv2": ALONG,
        "conv3": Slicewise(),
        "conv4": ALONG,
    }

    def __init__(
        self, into: int, width: int, stride: int, kind: str, norm: Norm, shortcut: nn.Module | None
    ) -> None:
        super().__init__(kind, shortcut)
        beside = (into, width, 1, stride) if kind == "B" else (width, width, 1, 1)
        self.conv1, self.norm_1 = nn.Conv2d(into, width, 3, stride, 1, bias=False), norm(width)
        self.conv2, self.norm_2 = nn.Conv2d(*beside, bias=False), norm(width)
        self.conv3, self.norm_3 = nn.Conv2d(width, width, 3, 1, 1, bias=False), norm(width)
        self.conv4, self.norm_4 = nn.Conv2d(width, width, 1, bias=False), norm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(N, into, H, W)`` to ``(N, width, H / stride, W / stride)``."""
        return self._joined(self._pair(3, self._pair(1, x)), x)


LAYOUTS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "63": (PseudoBottleneck, (3, 4, 6, 3)),
    "18ba": (PseudoBasic, (2, 2, 2, 2)),
}


class P3D(nn.Module):
    """The 2D network whose conversion by ``"i3d"`` is `p3d`.

    Kernels along depth are 1 × 1 here and 3 × 1 × 1 when converted; 3 × 3 kernels and the 7 × 7
    stem stay planar. Blocks are of the kinds A, B and C in turn. Parameters have the names of
    SVD-Net's code, but for its ``conv1_custom``.

    Source: Qiu, Yao and Mei, "Learning Spatio-Temporal Representation with Pseudo-3D Residual
    Networks", ICCV 2017, as a backbone of Zhang et al. (SVD-Net), 2022, whose code has the variant
    of basic blocks.

    Args:
        layout: ``"63"``, bottlenecks (3, 4, 6, 3), or ``"18ba"``, basic blocks (2, 2, 2, 2).
        in_channels: of the pictures.
        classes: outputs of the last layer.
        norm: ``"batch"``, or ``"group"`` for group norms of 32 groups.

    Raises:
        UsageError: an unknown layout or norm.
    """

    lifted_as: ClassVar[dict[str, Fusion]] = {"conv1": Slicewise()}

    def __init__(
        self,
        layout: str = "63",
        *,
        in_channels: int = 1,
        classes: int = 1000,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        for name, value, known in (("layout", layout, LAYOUTS), ("norm", norm, NORMS)):
            if value not in known:
                raise UsageError(f"p3d: unknown {name} {value!r}{did_you_mean(str(value), known)}")
        block, counts = LAYOUTS[layout]
        make: Norm = NORMS[norm]  # type: ignore[assignment]
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.norm1 = make(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        into, number = 64, 0
        for stage, count in enumerate(counts):
            width, blocks = 64 * 2**stage, []
            for place in range(count):
                stride = 2 if stage and not place else 1
                out, shortcut = width * block.expansion, None
                if stride != 1 or into != out:
                    shortcut = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), make(out))
                kind = KINDS[number % len(KINDS)]
                blocks.append(block(into, width, stride, kind, make, shortcut))
                into, number = out, number + 1
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(into, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores ``(N, classes)`` of an image ``(N, in_channels, H, W)``."""
        x = self.maxpool(self.relu(self.norm1(self.conv1(image))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))
