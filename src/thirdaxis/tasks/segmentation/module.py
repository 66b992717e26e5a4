"""The training and validation step of a segmentation run."""

from typing import Any

import torch
from torch import Tensor, nn

from thirdaxis.metrics.dice import dice
from thirdaxis.tasks.module import RunModule
from thirdaxis.tasks.segmentation.loss import SegmentLoss
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.settings import SegmentSettings
from thirdaxis.tasks.segmentation.windows import logits_of


class SegmentModule(RunModule):
    """Trains a converted network on patches and scores it on whole volumes.

    Args:
        net: (N, C, D, H, W) to logits (N, classes, D, H, W).
        settings: of the run.
        plan: of the run.
        steps: of the whole run.
    """

    score_name = "Dice"

    def __init__(self, net: nn.Module, settings: SegmentSettings, plan: Plan, steps: int) -> None:
        super().__init__(net, settings, plan, steps)
        self.settings = settings
        self.plan = plan
        self.loss = SegmentLoss(settings, plan.classes)
        self.scores: list[Tensor] = []

    def on_train_epoch_start(self) -> None:
        """Changes to the focal form of the loss when its time has come."""
        super().on_train_epoch_start()
        if self.has_begun(self.settings.focal_from):
            self.loss.is_focal = True

    def changes(self) -> list[str]:
        """What has changed in this epoch or one before it, in words."""
        focal = self.has_begun(self.settings.focal_from)
        return [*(["focal loss"] if focal else []), *super().changes()]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch of patches."""
        logits = self(batch["image"], batch["thickness"])
        return self.noted(self.loss(logits.float(), batch["label"]))

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Dice of one whole volume, on the grid the network sees."""
        logits = logits_of(
            self.net,
            batch["image"],
            self.plan.window or self.plan.patch,
            self.settings.overlap,
            thickness=batch["thickness"],
            rim=self.settings.loss_rim,
        )
        found = dice(logits.argmax(0).cpu(), batch["label"][0].cpu(), self.plan.foreground)
        row = [float(batch["number"]), *(found[value] for value in self.plan.foreground)]
        self.scores.append(torch.tensor(row, dtype=torch.float64))

    def on_validation_epoch_end(self) -> None:
        """Mean over cases, then over classes; a class absent from a case is left out there."""
        rows = self.all_gather(torch.stack(self.scores).to(self.device, torch.float32))
        self.scores = []
        rows = rows.reshape(-1, rows.shape[-1]).cpu()
        # Devices may share a case where cases do not divide evenly: each counts once.
        unique = {int(row[0]): row[1:] for row in rows}
        self.epoch_score = float(torch.stack(list(unique.values())).nanmean(0).nanmean())
        self.log("val_dice", self.epoch_score, prog_bar=True, rank_zero_only=True)
