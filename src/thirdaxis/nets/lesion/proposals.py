"""Proposals: torchvision's region proposal network with the anchors and rules of the papers.

Boxes are torchvision's: x2 - x1 wide. Where the mmdetection 1.x of the published code counted
pixels at both ends (x2 - x1 + 1), in anchors, overlaps and targets alike, this package does not:
torchvision's coder, clipping and suppression count that way, and one rule throughout matters more
than which. A lesion of 16 pixels is one of 17 there. FROC is computed with the + 1, as published.
"""

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from thirdaxis.nets.lesion.settings import DetectorSettings


def in_single(x: Tensor) -> Tensor:
    """Half precision made single: pixels beyond 256 are not told apart in bfloat16."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class BestAnchors(Matcher):
    """Matches anchors to lesions by overlap; a lesion keeps those nearest to it all the same.

    As in mmdetection 1.x, and unlike torchvision's own matcher, only from an overlap of `floor`
    on, and for the lesion that they are nearest to of all anchors, not the one nearest to them.

    Args:
        high: IoU from which an anchor is a lesion.
        low: IoU below which it is background.
        floor: IoU from which the best anchors of a lesion are kept.
    """

    def __init__(self, high: float, low: float, floor: float) -> None:
        super().__init__(high, low, allow_low_quality_matches=True)
        self.floor = floor

    def set_low_quality_matches_(
        self, matches: Tensor, all_matches: Tensor, match_quality_matrix: Tensor
    ) -> None:
        """Gives each lesion its best anchors, ties and all.

        Args:
            matches: ``(A,)`` the lesion of each anchor, or below 0; changed in place.
            all_matches: not needed.
            match_quality_matrix: ``(L, A)`` IoU.
        """
        best = match_quality_matrix.amax(1, keepdim=True)
        kept = (match_quality_matrix == best) & (best >= self.floor)
        lesions = torch.arange(1, len(kept) + 1, device=kept.device).unsqueeze(1)
        last = (kept * lesions).amax(0) - 1  # of two lesions with the same best anchor, the later
        matches.copy_(torch.where(last >= 0, last, matches))


class ProposalHead(RPNHead):
    """torchvision's head, with answers in single precision: in bfloat16 boxes would jump."""

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Scores ``(N, A, h, w)`` and moves ``(N, 4 A, h, w)`` of anchors, for each map."""
        scores, moves = super().forward(maps)
        return [in_single(x) for x in scores], [in_single(x) for x in moves]


class Proposals(RegionProposalNetwork):
    """The region proposal network on one map of stride 4, in which an image's edge counts.

    Anchors lie around (0, 0) + 4 (column, row), their corners rounded, as in the published code.
    In training those that reach over the edge of the image (before padding) are left out, and so
    neither lesion nor background. Of `anchors` sampled ones half may be lesions. Losses are the
    binary cross entropy and smooth L1 (beta 1/9), both over the number of sampled anchors.

    Args:
        settings: of the detector.
    """

    def __init__(self, settings: DetectorSettings) -> None:
        super().__init__(
            AnchorGenerator((settings.sizes,), (settings.ratios,)),
            ProposalHead(settings.width, len(settings.sizes) * len(settings.ratios)),
            **proposal_rules(settings),
        )
        self.proposal_matcher = BestAnchors(*settings.anchor_overlaps)

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What anchors are to say: 1 lesion, 0 background, -1 nothing; and their lesions' boxes.

        Args:
            anchors: ``(A, 4)`` for each image.
            targets: for each image ``boxes`` ``(L, 4)`` and ``size``, its height and width.

        Returns:
            ``(A,)`` and ``(A, 4)`` for each image.
        """
        labels, boxes = [], []
        for given, target in zip(anchors, targets, strict=True):
            height, width = target["size"]
            edge = given.new_tensor([width, height])
            inside = ((given[:, :2] >= 0) & (given[:, 2:] <= edge)).all(1)
            [found], [lesions] = super().assign_targets_to_anchors([given[inside]], [target])
            label, box = given.new_full((len(given),), -1.0), given.clone()
            label[inside], box[inside] = found.to(label), lesions.to(box)
            labels.append(label)
            boxes.append(box)
        return labels, boxes

    def of_map(
        self, plane: Tensor, size: tuple[int, int], targets: list[dict[str, Tensor]] | None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals ``(K, 4)`` for each image, best first, and in training the losses.

        Args:
            plane: the map ``(N, C, h, w)`` of stride 4.
            size: height and width of the images before padding.
            targets: for each image its ``boxes`` ``(L, 4)``, in training.
        """
        count, _, height, width = plane.shape
        padded = torch.empty(count, 1, 4 * height, 4 * width, device="meta")
        sized = None if targets is None else [{**t, "size": size} for t in targets]
        images = ImageList(padded, [size] * count)
        return self(images, {"map": in_single(plane)}, sized)


def proposal_rules(settings: DetectorSettings) -> dict[str, Any]:
    """How proposals are sampled, matched and thinned out, as torchvision's network takes it."""
    high, low, _ = settings.anchor_overlaps
    count, share = settings.anchors
    return {
        "fg_iou_thresh": high,
        "bg_iou_thresh": low,
        "batch_size_per_image": count,
        "positive_fraction": share,
        "pre_nms_top_n": by_mode(settings.proposals_before),
        "post_nms_top_n": by_mode(settings.proposals_after),
        "nms_thresh": settings.proposal_overlap,
    }


def by_mode(counts: tuple[int, int]) -> dict[str, int]:
    """Numbers in training and later, as torchvision takes them."""
    return {"training": counts[0], "testing": counts[1]}
