"""The universal lesion detector: slices in, boxes and masks of the middle one's lesions out."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from thirdaxis.errors import InputError
from thirdaxis.nets.lesion.backbone import Backbone, encoder_named
from thirdaxis.nets.lesion.heads import Heads
from thirdaxis.nets.lesion.proposals import Proposals
from thirdaxis.nets.lesion.pyramid import Folding, Pyramid, Reduction
from thirdaxis.nets.lesion.settings import PAPERS_BACKBONE, DetectorSettings
from thirdaxis.nets.weights import Weights, WeightsReport

MULTIPLE = 32


class LesionDetector(nn.Module):
    """Mask R-CNN on one 2D map that a 3D backbone makes of D slices.

    A 2D classifier, converted with depth kept, gives maps of the slices at strides 4, 8 and 16. On
    each level a D x 1 x 1 convolution makes one picture of them, a 2D pyramid joins the pictures to
    one map at stride 4, and torchvision's region proposal network, box and mask heads work on it.

    Source: Yang et al., "AlignShift", MICCAI 2020, and its code; the same network in "Reinventing
    2D Convolutions for 3D Images", IEEE JBHI 2021, and "Asymmetric 3D Context Fusion for Universal
    Lesion Detection", MICCAI 2021. The text of the last adds the levels in 3D and reduces depth
    once; its code reduces every level, as is done here.

    Pixels come as they are to be seen, such as HU in [-1024, 2050] scaled to [0, 255] less 50:
    nothing is normalised or resized, as torchvision's own transform would. Images are padded with
    zeros at the right and below to multiples of 32.

    Args:
        backbone: a `Backbone`, or another module that answers as one.
        settings: of the detector.
        weights: what became of the backbone's weights, if any were given.
    """

    def __init__(
        self, backbone: Any, settings: DetectorSettings, weights: WeightsReport | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        self.weights = weights
        self.backbone = backbone
        self.reductions = nn.ModuleList(
            Folding() if backbone.is_stacked else Reduction(channels, settings.depth)
            for channels in backbone.channels
        )
        self.pyramid = Pyramid(backbone.channels, settings.width)
        self.proposals = Proposals(settings)
        self.heads = Heads(settings)

    def forward(
        self,
        images: Tensor,
        thickness: Tensor | None = None,
        targets: list[dict[str, Tensor]] | None = None,
    ) -> Any:
        """Losses in training, detections otherwise.

        Args:
            images: ``(N, 1, D, H, W)``, the key slice in the middle; with the settings' context
                so many slices more at either end.
            thickness: ``(N,)``, mm between slices, which some operators need.
            targets: in training, what is on each key slice: ``boxes`` ``(L, 4)``, x1, y1, x2, y2 in
                pixels with x1 < x2 and y1 < y2; ``labels`` ``(L,)``, int64 and all 1; with a mask
                head ``masks`` ``(L, H, W)``, uint8. L may be 0.

        Returns:
            In training, scalars ``rpn_objectness``, ``rpn_box``, ``class``, ``box`` and, with a
            mask head, ``mask``; the loss is their sum. Otherwise for each image ``boxes``
            ``(K, 4)``, ``scores`` ``(K,)``, best first, and with a mask head ``masks``
            ``(K, H, W)``, uint8.

        Raises:
            InputError: images or targets of another form.
        """
        if images.ndim != 5 or images.shape[1:3] != (1, self.settings.seen):
            raise InputError(
                f"images: the detector takes (N, 1, {self.settings.seen}, H, W), got "
                f"{tuple(images.shape)}"
            )
        maps = self.flat(self.levels(images, thickness))
        size = (images.shape[-2], images.shape[-1])
        if not self.training:
            return self.detections(maps, size)
        self._check(targets, len(images))
        assert targets is not None
        proposals, lost = self.proposals.of_map(maps, size, targets)
        return {
            "rpn_objectness": lost["loss_objectness"],
            "rpn_box": lost["loss_rpn_box_reg"],
            **self.heads.losses(maps, proposals, targets),
        }

    def levels(self, images: Tensor, thickness: Tensor | None = None) -> list[Tensor]:
        """Maps ``(N, C, S, h, w)`` of the slices, at strides 4, 8 and 16.

        Args:
            images: ``(N, 1, S, H, W)``; S is D, or more where no operator fixes the depth
                (``backbone.fixed_depth``).
            thickness: ``(N,)``, mm between slices, which some operators need.

        Returns:
            Of stacked slices, S - D + 1 maps, one for each window.
        """
        return self.backbone(padded(images), thickness)

    def before_fusion(self, images: Tensor) -> list[Tensor]:
        """What is computed slice by slice ahead of the first operator, each ``(N, C, S, h, w)``.

        Of neighbouring windows it is the same for every slice that they share: computed once for a
        whole scan, `thirdaxis.nets.lesion.pyramid.windows` of every part go into `after`.

        Args:
            images: ``(N, 1, S, H, W)``, any number of slices.
        """
        return self.backbone.before_fusion(padded(images))

    def after(self, parts: Sequence[Tensor], thickness: Tensor | None = None) -> list[Tensor]:
        """The maps that `levels` gives, from what `before_fusion` gave.

        Args:
            parts: from `before_fusion`, or windows of D slices of each.
            thickness: ``(N,)``, mm between slices, which some operators need.
        """
        return self.backbone.after(parts, thickness)

    def flat(self, levels: Sequence[Tensor]) -> Tensor:
        """One 2D map at stride 4 for every window of D slices that has its context.

        Args:
            levels: from `levels`, of S slices.

        Returns:
            ``(N * (S - D - 2 * context + 1), width, h, w)``, the windows of the first volume first.
        """
        if context := self.settings.context:
            levels = [x[:, :, context:-context] for x in levels]
        pictures = [reduce(x) for reduce, x in zip(self.reductions, levels, strict=True)]
        return self.pyramid(pictures)

    def detections(self, maps: Tensor, size: tuple[int, int]) -> list[dict[str, Tensor]]:
        """Lesions on each key slice, best first; see `forward`. For a detector in ``eval`` mode.

        Args:
            maps: ``(N, width, h, w)``, from `flat`.
            size: height and width of the images, to which boxes are clipped.
        """
        proposals, _ = self.proposals.of_map(maps, size, None)
        return self.heads.detections(maps, proposals, size)

    def _check(self, targets: Any, count: int) -> None:
        """Refuses targets whose names or number are wrong; their values would cost a wait."""
        wanted = {"boxes", "labels", *(["masks"] if self.settings.masks else [])}
        if targets is None or len(targets) != count:
            came = "none" if targets is None else f"those of {len(targets)}"
            raise InputError(f"targets: in training {count} images need as many, got {came}")
        for number, target in enumerate(targets):
            if missing := wanted - target.keys():
                raise InputError(f"targets[{number}] has no {' and no '.join(sorted(missing))}")


def padded(images: Tensor) -> Tensor:
    """Images with zeros at the right and below, up to multiples of 32.

    Raises:
        InputError: sides below 32, which no anchor need fit into.
    """
    height, width = images.shape[-2:]
    if min(height, width) < MULTIPLE:
        raise InputError(
            f"images: the detector takes at least {MULTIPLE} x {MULTIPLE} pixels, got "
            f"{height} x {width}"
        )
    more = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    return F.pad(images, more) if any(more) else images


def make_detector(settings: DetectorSettings, weights: Weights = None) -> LesionDetector:
    """Builds a detector; all but the backbone start at random.

    Args:
        settings: of the detector.
        weights: of the 2D backbone: a file, ``"library"``, or None for a random start.

    Raises:
        UsageError: an unknown network or operator, or one that cannot be a backbone.
        InputError: weights that cannot be read, fetched, or do not fit.
    """
    encoder, report = encoder_named(settings.backbone, weights)
    papers = settings.backbone.removeprefix("torchvision:") == PAPERS_BACKBONE
    backbone = Backbone(encoder, settings, settings.place_in(papers))
    return LesionDetector(backbone, settings, report)
