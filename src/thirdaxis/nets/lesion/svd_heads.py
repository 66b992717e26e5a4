"""torchvision's proposals and box head on the maps of a pyramid, for `SvdDetector`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign

from thirdaxis.nets.lesion.heads import BOX_SIDE, region_rules
from thirdaxis.nets.lesion.proposals import BestAnchors, ProposalHead, in_single, proposal_rules
from thirdaxis.nets.lesion.settings import DetectorSettings

FINEST = 4  # stride of the finest map
POOLED = ("0", "1", "2", "3")  # the coarsest map serves proposals alone


def _named(maps: Sequence[Tensor]) -> dict[str, Tensor]:
    return {str(i): in_single(x) for i, x in enumerate(maps)}


def _whole(maps: Sequence[Tensor]) -> tuple[int, int]:
    """Height and width of the padded images."""
    return FINEST * maps[0].shape[-2], FINEST * maps[0].shape[-1]


class PyramidProposals(RegionProposalNetwork):
    """The region proposal network with anchors of one side on each map.

    Anchors over the edge of an image take part, as in mmdetection 2, with which the published
    network was trained.

    Args:
        settings: of the detector.
    """

    def __init__(self, settings: DetectorSettings) -> None:
        sizes = tuple((size,) for size in settings.sizes)
        super().__init__(
            AnchorGenerator(sizes, (settings.ratios,) * len(sizes)),
            ProposalHead(settings.width, len(settings.ratios)),
            **proposal_rules(settings),
        )
        self.proposal_matcher = BestAnchors(*settings.anchor_overlaps)

    def of_map(
        self,
        maps: Sequence[Tensor],
        size: tuple[int, int],
        targets: list[dict[str, Any]] | None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals ``(K, 4)`` for each image, best first, and in training the losses.

        Args:
            maps: ``(N, C, h, w)`` at strides 4 to 64.
            size: height and width of the images before padding.
            targets: in training, for each image its ``boxes`` ``(L, 4)`` and, where it is smaller
                than the batch, its own ``size``, beyond which nothing is proposed.
        """
        sizes = [one.get("size", size) for one in targets or [{}] * len(maps[0])]
        padded = torch.empty(len(sizes), 1, *_whole(maps), device="meta")
        return self(ImageList(padded, sizes), _named(maps), targets)


class PyramidHeads(RoIHeads):
    """Two layers that judge a region, pooled from the map that suits its size.

    Args:
        settings: of the detector.
        classes: that are found.
    """

    def __init__(self, settings: DetectorSettings, classes: int) -> None:
        super().__init__(
            MultiScaleRoIAlign(list(POOLED), BOX_SIDE, 2),
            TwoMLPHead(settings.width * BOX_SIDE**2, settings.hidden),
            FastRCNNPredictor(settings.hidden, classes + 1),
            **region_rules(settings),
        )

    def losses(
        self, maps: Sequence[Tensor], proposals: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Losses ``class`` and ``box``: cross entropy, smooth L1 (beta 1/9) over all regions.

        Args:
            maps: ``(N, C, h, w)`` at strides 4 to 64.
            proposals: ``(K, 4)`` for each image; what is to be found is added to them.
            targets: for each image ``boxes`` and ``labels``.
        """
        _, lost = self(_named(maps), proposals, [_whole(maps)] * len(proposals), targets)
        return {"class": lost["loss_classifier"], "box": lost["loss_box_reg"]}

    def detections(
        self, maps: Sequence[Tensor], proposals: list[Tensor], size: tuple[int, int]
    ) -> list[dict[str, Tensor]]:
        """What is found in each image, best first: ``boxes``, ``scores`` and ``labels``.

        Args:
            maps: ``(N, C, h, w)`` at strides 4 to 64.
            proposals: ``(K, 4)`` for each image.
            size: height and width of the images before padding.
        """
        count = len(proposals)
        regions: Any = self.box_roi_pool(_named(maps), proposals, [_whole(maps)] * count)
        scores, moves = self.box_predictor(self.box_head(regions))
        told = zip(
            *self.postprocess_detections(
                in_single(scores), in_single(moves), proposals, [size] * count
            ),
            strict=True,
        )
        return [{"boxes": b, "scores": s, "labels": c} for b, s, c in told]
