"""What segmentation minimises: an overlap of regions, an error of voxels, or both."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from monai.losses.dice import DiceLoss
from torch import Tensor, nn

from thirdaxis.errors import UsageError
from thirdaxis.tasks.segmentation.settings import SegmentSettings


def focal(logits: Tensor, label: Tensor, gamma: float, weight: Tensor | None = None) -> Tensor:
    """Cross entropy in which voxels that are right already count little.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, over the softmax.

    Args:
        logits: (N, classes, D, H, W).
        label: (N, D, H, W) class indices.
        gamma: 0 is cross entropy itself.
        weight: (classes,) of the voxels of each class; the mean is weighted by it.

    Returns:
        One number.
    """
    plain = F.cross_entropy(logits, label, reduction="none")
    # Below 1 by rounding alone, 1 - p would have no gradient of a power.
    missed = (1 - torch.exp(-plain)).clamp(min=1e-7) if gamma else 1.0
    lost = missed**gamma * plain
    if weight is None:
        return lost.mean()
    weights = weight[label]
    return (weights * lost).sum() / weights.sum()


def focal_squared(heat: Tensor, target: Tensor, largest: float, gamma: float = 2.0) -> Tensor:
    """Squared error in which voxels that are nearly right count little, for heat maps.

    Source: Liu et al., "3D Anisotropic Hybrid Network", MICCAI 2018, equation 4, which weighs an
    error D by ``(ln D / ln D_max)^gamma``. That grows again towards D = 0, so here 1 is added to
    both, and the weight is taken as a constant: ``(ln(1 + D) / ln(1 + D_max))^gamma D``.

    Args:
        heat: what the network gives, of any shape.
        target: of the same shape.
        largest: D_max, the largest squared error to expect, such as the square of the peaks.
        gamma: 0 is the mean squared error itself; the paper does not print its own.

    Returns:
        One number.

    Raises:
        UsageError: a largest error that is not positive.
    """
    if not largest > 0:
        raise UsageError(f"focal_squared: the largest error is positive, got {largest!r}")
    error = F.mse_loss(heat, target, reduction="none")
    weight = error.detach().log1p() / math.log1p(largest)
    return (weight**gamma * error).mean()


class SegmentLoss(nn.Module):
    """A weighted sum of soft Dice and cross entropy or focal loss, as a run's settings ask.

    Args:
        settings: of the run.
        classes: background included.

    Attributes:
        is_focal: whether cross entropy is in its focal form; a run may change to it.

    Raises:
        UsageError: class weights for another number of classes.
    """

    weight: Tensor | None

    def __init__(self, settings: SegmentSettings, classes: int) -> None:
        super().__init__()
        given = settings.class_weights
        if given is not None and len(given) != classes:
            raise UsageError(
                f"class_weights {list(given)} are {len(given)}, the data set has {classes} "
                "classes, background first"
            )
        self.register_buffer(
            "weight", None if given is None else torch.tensor(given), persistent=False
        )
        kinds = settings.loss.split("_")
        self.dice_weight = settings.dice_weight if "dice" in kinds else 0.0
        self.voxel_weight = settings.voxel_weight if kinds != ["dice"] else 0.0
        self.rim = settings.loss_rim
        self.focal_gamma = settings.focal_gamma
        self.is_focal = "focal" in kinds
        self.dice = DiceLoss(
            include_background=settings.dice_background,
            to_onehot_y=True,
            softmax=True,
            smooth_nr=settings.dice_smooth,
            smooth_dr=settings.dice_smooth,
            batch=settings.dice_over == "batch",
            weight=None if given is None else given[0 if settings.dice_background else 1 :],
        )

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            logits: (N, classes, D, H, W) float32.
            label: (N, 1, D, H, W) class indices.

        Returns:
            One number.
        """
        inner = slice(self.rim, logits.shape[2] - self.rim)
        logits, label = logits[:, :, inner], label[:, :, inner]
        gamma = self.focal_gamma if self.is_focal else 0.0
        loss = logits.new_zeros(())
        if self.dice_weight:
            loss = loss + self.dice_weight * cast(Tensor, self.dice(logits, label))
        if self.voxel_weight:
            loss = loss + self.voxel_weight * focal(logits, label[:, 0], gamma, self.weight)
        return loss
