"""Box and mask heads: torchvision's, with the sizes, samples and losses of the papers."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import (
    RoIHeads,
    paste_masks_in_image,
    project_masks_on_boxes,
)
from torchvision.ops import RoIAlign

from thirdaxis.nets.lesion.proposals import in_single
from thirdaxis.nets.lesion.settings import DetectorSettings

BOX_SIDE, MASK_SIDE = 7, 14
LESION = 1
CODER = (10.0, 10.0, 5.0, 5.0)  # moves are divided by 0.1, 0.1, 0.2, 0.2


def dice_loss(logits: Tensor, masks: Tensor, smooth: float = 0.01) -> Tensor:
    """``1 - (2 sum(p t) + s) / (sum(p) + sum(t) + s)`` of each mask, p the sigmoid, averaged.

    Args:
        logits: ``(K, H, W)``; K may be 0, which costs nothing.
        masks: ``(K, H, W)`` from 0 to 1.
        smooth: s.

    Source: the mask loss of Yang et al., "AlignShift", MICCAI 2020, and of its code.
    """
    if len(logits) == 0:
        return logits.sum()
    found = logits.sigmoid().flatten(1)
    wanted = masks.flatten(1).to(found)
    shared = 2 * (found * wanted).sum(1)
    return (1 - (shared + smooth) / (found.sum(1) + wanted.sum(1) + smooth)).mean()


def box_losses(scores: Tensor, moves: Tensor, labels: Tensor, targets: Tensor) -> tuple:
    """Cross entropy, and smooth L1 (beta 1) of lesions' boxes over the number of all regions.

    Args:
        scores: ``(K, 2)``.
        moves: ``(K, 8)``, four for each class.
        labels: ``(K,)``, 1 lesion, 0 background.
        targets: ``(K, 4)``.
    """
    lesions = torch.where(labels == LESION)[0]
    moved = moves.unflatten(1, (-1, 4))[lesions, LESION]
    lost = F.smooth_l1_loss(moved, targets[lesions], reduction="sum", beta=1.0)
    return F.cross_entropy(scores, labels), lost / max(1, len(labels))


def region_rules(settings: DetectorSettings) -> dict[str, Any]:
    """How regions are sampled, matched and thinned out, as torchvision's heads take it."""
    count, share = settings.regions
    return {
        "fg_iou_thresh": settings.region_overlap,
        "bg_iou_thresh": settings.region_overlap,
        "batch_size_per_image": count,
        "positive_fraction": share,
        "bbox_reg_weights": CODER,
        "score_thresh": settings.score_threshold,
        "nms_thresh": settings.overlap,
        "detections_per_img": settings.most,
    }


class Heads(RoIHeads):
    """torchvision's heads on the one map of stride 4, with two classes, lesion and background.

    Regions are aligned without half a pixel's shift, for coordinates name the middles of pixels,
    and sampled twice along each side, as in the published code; they are x2 - x1 wide where that
    had one pixel more. Scores are softmaxes; boxes are moved by class. A mask is the lesion's
    channel of the mask head; what it is to be is the lesion's mask in the region, at 28 x 28 pixels
    and rounded, as the published code resizes bytes.

    Args:
        settings: of the detector.
    """

    def __init__(self, settings: DetectorSettings) -> None:
        width, hidden, narrow = settings.width, settings.hidden, settings.mask_width
        box_head = TwoMLPHead(width * BOX_SIDE**2, hidden)
        for layer in (box_head.fc6, box_head.fc7):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        predictor = FastRCNNPredictor(hidden, 2)
        for layer, spread in ((predictor.cls_score, 0.01), (predictor.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)
        masks: dict[str, nn.Module] = {}
        if settings.masks:
            masks["mask_roi_pool"] = RoIAlign(MASK_SIDE, 1 / 4, 2)
            masks["mask_head"] = MaskRCNNHeads(width, (narrow,) * 4, 1)
            masks["mask_predictor"] = MaskRCNNPredictor(narrow, narrow, 2)
        super().__init__(
            RoIAlign(BOX_SIDE, 1 / 4, 2),
            box_head,
            predictor,
            **region_rules(settings),
            **masks,
        )
        self.mask_threshold = settings.mask_threshold

    def losses(
        self, plane: Tensor, proposals: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Losses ``class``, ``box`` and, with a mask head, ``mask``.

        Args:
            plane: the map ``(N, C, h, w)``.
            proposals: ``(K, 4)`` for each image; the lesions are added to them.
            targets: for each image ``boxes``, ``labels``, ``masks``; see `LesionDetector`.
        """
        plane = in_single(plane)
        regions, lesions, labels, moves = self.select_training_samples(list(proposals), targets)
        scores, moved = self._boxes(plane, regions)
        by_class, by_box = box_losses(scores, moved, torch.cat(labels), torch.cat(list(moves)))
        found = {"class": by_class, "box": by_box}
        if self.has_mask():
            positive = [label == LESION for label in labels]
            regions = [r[p] for r, p in zip(regions, positive, strict=True)]
            lesions = [i[p] for i, p in zip(lesions, positive, strict=True)]
            wanted = [
                project_masks_on_boxes(target["masks"], r, i, 2 * MASK_SIDE).round()
                for target, r, i in zip(targets, regions, lesions, strict=True)
            ]
            found["mask"] = dice_loss(self._masks(plane, regions), torch.cat(wanted))
        return found

    def detections(
        self, plane: Tensor, proposals: list[Tensor], size: tuple[int, int]
    ) -> list[dict[str, Tensor]]:
        """Lesions of each image, best first.

        Args:
            plane: the map ``(N, C, h, w)``.
            proposals: ``(K, 4)`` for each image.
            size: height and width of the images before padding.

        Returns:
            For each image ``boxes`` ``(K, 4)``, ``scores`` ``(K,)``, and with a mask head
            ``masks`` ``(K, H, W)``, uint8.
        """
        plane = in_single(plane)
        sizes = [size] * len(proposals)
        boxes, scores, _ = self.postprocess_detections(
            *self._boxes(plane, proposals), proposals, sizes
        )
        found = [{"boxes": b, "scores": s} for b, s in zip(boxes, scores, strict=True)]
        if self.has_mask():
            shares = self._masks(plane, boxes).sigmoid().split([len(b) for b in boxes])
            for one, share in zip(found, shares, strict=True):
                pasted = paste_masks_in_image(share.unsqueeze(1), one["boxes"], size)[:, 0]
                one["masks"] = (pasted >= self.mask_threshold).to(torch.uint8)
        return found

    def _boxes(self, plane: Tensor, regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        scores, moves = self.box_predictor(self.box_head(self.box_roi_pool(plane, regions)))
        return in_single(scores), in_single(moves)

    def _masks(self, plane: Tensor, regions: list[Tensor]) -> Tensor:
        logits = self.mask_predictor(self.mask_head(self.mask_roi_pool(plane, regions)))
        return in_single(logits[:, LESION])
