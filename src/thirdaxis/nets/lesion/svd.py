"""SVD-Net's detector: a 3D backbone whose levels become 2D, a feature pyramid, Faster R-CNN.

The same network learns photographs of three slices, with every slice kept, and lesions of nine.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

import thirdaxis
from thirdaxis.axes import DEPTH
from thirdaxis.errors import InputError, UsageError, did_you_mean
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.i3d import I3D
from thirdaxis.nets.group_transform import CentreSlice, GroupTransform
from thirdaxis.nets.lesion.detector import LesionDetector
from thirdaxis.nets.lesion.pyramid import windows
from thirdaxis.nets.lesion.settings import DetectorSettings
from thirdaxis.nets.lesion.svd_heads import PyramidHeads, PyramidProposals
from thirdaxis.nets.natural import is_volumetric
from thirdaxis.nets.p3d63 import P3D
from thirdaxis.nets.pretrained import holds_volumes, load_pretrained
from thirdaxis.nets.resnet3d import PaddedShortcut
from thirdaxis.nets.starts import start_anew
from thirdaxis.nets.volumetric import flat, library_tensors
from thirdaxis.nets.weights import Weights, WeightsReport, fill, tensors_of

MULTIPLE = 64  # the coarsest map's stride
STAGES = ("layer1", "layer2", "layer3", "layer4")
REDUCED = 9  # slices that the reductions leave one of
TO_PLANE = ("group", "centre")
EXPANSION = (1, 2, 4, 8)


@dataclass(frozen=True)
class SvdSettings(DetectorSettings):
    """What an `SvdDetector` is made of: `DetectorSettings` with the numbers of SVD-Net.

    ``place``, ``stem``, ``statistics`` and ``mask_width`` mean nothing here.

    Args:
        backbone: a name of `thirdaxis.nets.volumetric.flat`, such as ``"resnet3d:18-v1c"``.
        fusion: ``"i3d"``, which these networks are.
        sizes: sides of anchors, one for each of the five levels.
        score_threshold: detections score more.
        reduces: whether depth falls from level to level, 9, 5, 3, 1; otherwise it is kept.
        to_plane: ``"group"`` for a `GroupTransform` on each level, as the paper has it, or
            ``"centre"`` for the slice in the middle, as its published configuration.
        classes: that are found; 1 for lesions, 80 for COCO.

    Raises:
        UsageError: settings that do not go together.
    """

    backbone: str = "resnet3d:18"
    fusion: str | Fusion = "i3d"
    depth: int = REDUCED
    masks: bool = False
    width: int = 256
    hidden: int = 1024
    sizes: tuple[int, ...] = (16, 32, 64, 128, 256)
    anchors: tuple[int, float] = (256, 0.5)
    proposals_before: tuple[int, int] = (2000, 1000)
    proposals_after: tuple[int, int] = (2000, 1000)
    regions: tuple[int, float] = (512, 0.25)
    score_threshold: float = 0.0
    most: int = 100
    reduces: bool = True
    to_plane: str = "group"
    classes: int = 1

    def __post_init__(self) -> None:
        """Checks what the network would otherwise trip over late."""
        super().__post_init__()
        if self.to_plane not in TO_PLANE:
            guess = did_you_mean(self.to_plane, TO_PLANE)
            raise UsageError(f"to_plane: unknown way {self.to_plane!r}{guess}")
        if self.reduces and self.depth != REDUCED:
            raise UsageError(
                f"depth: a detector that reduces it level by level takes {REDUCED} slices, got "
                f"{self.depth}; keep it by reduces=False"
            )
        if self.context:
            raise UsageError("context: SVD-Net's detector sees its slices alone; leave it away")
        if self.masks:
            raise UsageError("masks: SVD-Net's detector learns boxes alone; take masks=False")
        if self.fusion != "i3d" and self.fusion != I3D():
            raise UsageError(f"fusion: the network is 3D by i3d, got {self.fusion!r}")
        if len(self.sizes) != len(STAGES) + 1:
            raise UsageError(
                f"sizes: one side of anchors for each of {len(STAGES) + 1} levels, got {self.sizes}"
            )


class SvdBackbone(nn.Module):
    """A ResNet3D or P3D whose four stages give maps at strides 4, 8, 16 and 32.

    Where depth is reduced, the last three stages get 5, 3 and 1 of 9 slices: a ResNet3D by strides
    of its first kernels, the last without padding, and a P3D by maxima of three slices before them,
    likewise. The paper gives the depths alone; its code has those of P3D.

    Args:
        net: the 2D network.
        depth: slices of the volumes.
        reduces: whether depth is reduced.
    """

    is_stacked = False

    def __init__(self, net: Any, depth: int, reduces: bool) -> None:
        super().__init__()
        self.is_pseudo = isinstance(net, P3D)
        block = net.layer4[-1]
        if reduces and isinstance(getattr(net.layer4[0], "downsample", None), PaddedShortcut):
            raise UsageError("backbone: shortcuts of type A cannot reduce depth; take type B")
        self.channels = tuple(64 * block.expansion * n for n in EXPANSION)
        self.fixed_depth, self.reduces = depth, reduces
        self.slices = (9, 5, 3, 1) if reduces else (depth,) * len(STAGES)
        del net.fc, net.avgpool
        strided = reduces and not self.is_pseudo
        overrides = {stage: {"depth_stride": True} for stage in STAGES[1:3] if strided}
        self.net: Any = thirdaxis.convert(net, "i3d", depth_stride=False, overrides=overrides)

    def forward(self, volume: Tensor) -> list[Tensor]:
        """Maps ``(N, C, d, h, w)``, finest first, of ``slices`` d, from ``(N, 1, D, H, W)``."""
        net, found = self.net, []
        norm = net.norm1 if self.is_pseudo else net.bn1
        x = net.maxpool(torch.relu(norm(net.conv1(volume))))
        for number, name in enumerate(STAGES):
            stage, last = getattr(net, name), number == len(STAGES) - 1
            if self.reduces and number and self.is_pseudo:
                x = _thinned(x, last)
            if self.reduces and last and not self.is_pseudo:
                x = stage[0](x) if x.shape[DEPTH] == 1 else _unpadded(stage[0], x)
                for block in stage[1:]:
                    x = block(x)
            else:
                x = stage(x)
            found.append(x)
        return found


def _thinned(x: Tensor, last: bool) -> Tensor:
    """Maxima of three slices: of every second one, or of those with two neighbours."""
    if last:
        return F.max_pool3d(x, (3, 1, 1), 1)
    return F.max_pool3d(x, (3, 1, 1), (2, 1, 1), (1, 0, 0))


def _unpadded(block: Any, x: Tensor) -> Tensor:
    """A residual block whose strided kernel is not padded along depth: three slices become one."""
    if hasattr(block, "conv3"):
        y = block.relu(block.bn1(block.conv1(x)))
        y = block.relu(block.bn2(_inside(block.conv2, y)))
        y = block.bn3(block.conv3(y))
    else:
        y = block.relu(block.bn1(_inside(block.conv1, x)))
        y = block.bn2(block.conv2(y))
    return block.relu(y + block.downsample(x[:, :, 1:-1]))


def _inside(conv: Any, x: Tensor) -> Tensor:
    return F.conv3d(x, conv.weight, None, (1, *conv.stride), (0, *conv.padding))


class SvdDetector(LesionDetector):
    """Faster R-CNN on a feature pyramid of 2D maps that a 3D backbone makes of D slices.

    Source: Zhang et al., "Advancing 3D Medical Image Analysis with Variable Dimension Transform
    based Supervised 3D Pre-training" (SVD-Net), 2022, and its code. Without reductions it is the
    network that learns photographs, of D = 3 slices that `thirdaxis.axes.channels_as_slices` makes.

    It is called as `LesionDetector` is; ``labels`` of targets may be 1 to ``classes``,
    ``size`` of one may be the height and width of an image that is padded to those of its batch,
    and detections have ``labels`` ``(K,)`` too.

    Args:
        backbone: an `SvdBackbone`.
        settings: of the detector.
    """

    def __init__(self, backbone: SvdBackbone, settings: SvdSettings) -> None:
        nn.Module.__init__(self)
        self.settings = settings
        self.weights: WeightsReport | None = None
        self.backbone = backbone
        self.reductions = nn.ModuleList(
            GroupTransform(channels, slices) if settings.to_plane == "group" else CentreSlice()
            for channels, slices in zip(backbone.channels, backbone.slices, strict=True)
        )
        self.pyramid: Any = FeaturePyramidNetwork(
            list(backbone.channels), settings.width, LastLevelMaxPool()
        )
        self.proposals: Any = PyramidProposals(settings)
        self.heads: Any = PyramidHeads(settings, settings.classes)

    def levels(self, images: Tensor, thickness: Tensor | None = None) -> list[Tensor]:
        """Maps ``(M, C, d, h, w)`` at strides 4, 8, 16 and 32 of every window of D slices.

        Args:
            images: ``(N, 1, S, H, W)``; of S slices there are S - D + 1 windows.
            thickness: not needed.

        Raises:
            InputError: fewer slices.
        """
        if images.shape[DEPTH] < self.settings.depth:
            raise InputError(
                f"images: the detector takes {self.settings.depth} slices or more, got "
                f"{images.shape[DEPTH]}"
            )
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        return self.backbone(windows(images, self.settings.depth))

    def before_fusion(self, images: Tensor) -> list[Tensor]:
        """The images themselves, for kernels fuse slices from the first layer on."""
        return [images]

    def after(self, parts: Sequence[Tensor], thickness: Tensor | None = None) -> list[Tensor]:
        """The maps that `levels` gives, from what `before_fusion` gave or windows of it."""
        return self.levels(parts[0])

    def flat(self, levels: Sequence[Tensor]) -> Any:
        """2D maps ``(M, width, h, w)`` at strides 4 to 64, finest first.

        Args:
            levels: from `levels`.
        """
        pictures = [fuse(x) for fuse, x in zip(self.reductions, levels, strict=True)]
        named = OrderedDict((str(i), picture) for i, picture in enumerate(pictures))
        return list(self.pyramid(named).values())


def make_svd_detector(settings: SvdSettings, weights: Weights = None) -> SvdDetector:
    """Builds SVD-Net's detector.

    Args:
        settings: of the detector.
        weights: a file of 3D kernels, of a classifier or of such a detector, whose pyramid and
            heads follow where they fit; 2D weights of the backbone as a file or ``"library"``,
            inflated; or None for a random start.

    Raises:
        UsageError: an unknown backbone, or one that cannot reduce depth.
        InputError: weights that cannot be read, fetched, or do not fit.
    """
    name = settings.backbone
    if not is_volumetric(name):
        raise UsageError(
            f"backbone: {name!r} is no network published in 3D; expected 'resnet3d:18', 'p3d:63' "
            "or the like"
        )
    net = flat(name, in_channels=1, classes=1)
    volumetric = isinstance(weights, Path) and holds_volumes(weights)
    report = None
    if weights is not None and not volumetric:
        if weights == "library" and isinstance(net, P3D):
            raise UsageError(f"{name} has no library weights; give a file, or none")
        report = fill(net, tensors_of(name, weights, lambda: library_tensors(name)), "")
    detector = SvdDetector(SvdBackbone(net, settings.depth, settings.reduces), settings)
    if report is None:
        start_anew(detector.backbone, "kaiming")
    if volumetric:
        report = load_pretrained(detector, Path(weights))  # type: ignore[arg-type]
    detector.weights = report
    return detector
