"""The training and validation step of a run that locates lesions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thirdaxis.metrics.boxes import contains
from thirdaxis.metrics.froc import froc
from thirdaxis.tasks.locating.peaks import peaks, window_voxels
from thirdaxis.tasks.locating.plan import LocatePlan
from thirdaxis.tasks.locating.prepare import Seen
from thirdaxis.tasks.locating.settings import LocateSettings
from thirdaxis.tasks.module import RunModule
from thirdaxis.tasks.segmentation.loss import focal_squared
from thirdaxis.tasks.segmentation.windows import logits_of


class LocateModule(RunModule):
    """Trains a converted network with one output on heat maps, and scores its peaks by FROC.

    Args:
        net: (N, C, D, H, W) to heat maps (N, 1, D, H, W).
        settings: of the run.
        plan: of the run.
        steps: of the whole run.
        validation: volumes to choose by, in the order of their numbers.
    """

    score_name = "FROC"

    def __init__(
        self,
        net: nn.Module,
        settings: LocateSettings,
        plan: LocatePlan,
        steps: int,
        validation: Sequence[Seen] = (),
    ) -> None:
        super().__init__(net, settings, plan, steps)
        self.settings, self.plan, self.validation = settings, plan, validation
        self.rows: list[Tensor] = []

    def changes(self) -> list[str]:
        """What has changed in this epoch or one before it, in words."""
        focal = self.has_begun(self.settings.focal_from)
        return [*(["focal loss"] if focal else []), *super().changes()]

    def loss(self, heat: Tensor, target: Tensor) -> Tensor:
        """The mean squared error of a batch, or its focal form once its time has come."""
        told = self.settings
        inner = slice(told.loss_rim, heat.shape[2] - told.loss_rim)
        heat, target = heat[:, :, inner], target[:, :, inner]
        gamma = told.focal_gamma if self.has_begun(told.focal_from) else 0.0
        return focal_squared(heat.float(), target, told.largest_error, gamma)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch of patches."""
        return self.noted(self.loss(self(batch["image"], batch["thickness"]), batch["heat"]))

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The peaks in one whole volume, a row of numbers."""
        told, seen = self.settings, self.validation[batch["number"]]
        heat = logits_of(
            self.net,
            batch["image"],
            self.plan.window,
            told.overlap,
            thickness=seen.spacing[0],
            rim=told.loss_rim,
        )
        window = window_voxels(told.suppress, seen.spacing)
        places, scores = peaks(heat[0].cpu().numpy(), window, told.least, told.most)
        row = torch.full((1 + 4 * told.most,), torch.nan)
        found = torch.from_numpy(np.column_stack([places, scores])).float().flatten()
        row[0], row[1 : 1 + len(found)] = batch["number"], found
        self.rows.append(row)

    def on_validation_epoch_end(self) -> None:
        """Mean sensitivity at 0.5, 1, 2 and 4 false positives a volume over all of them."""
        rows = self.all_gather(torch.stack(self.rows).to(self.device))
        self.rows = []
        # Devices may share a volume where they do not divide evenly: each counts once.
        unique = {int(row[0]): row[1:] for row in rows.reshape(-1, rows.shape[-1]).cpu()}
        found, truth = {}, {}
        for number, row in unique.items():
            told = row.reshape(-1, 4)
            told = told[~told[:, 3].isnan()].numpy()
            name = self.validation[number].name
            found[name] = (told[:, :3], told[:, 3])
            truth[name] = self.validation[number].boxes
        self.epoch_score = float(froc(found, truth, overlap=contains).mean)
        self.log("val_froc", self.epoch_score, prog_bar=True, rank_zero_only=True)
