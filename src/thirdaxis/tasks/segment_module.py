"""The training and validation step of a segmentation run, and its optimiser."""

import math
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from monai.losses.dice import DiceCELoss, DiceFocalLoss
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from thirdaxis.convert.lift import beside
from thirdaxis.metrics.dice import dice
from thirdaxis.tasks.plan import Plan
from thirdaxis.tasks.settings import SegmentSettings
from thirdaxis.tasks.windows import logits_of


def rate_at(step: int, steps: int, schedule: str, warmup: float) -> float:
    """The learning rate at a step, as a share of the highest one.

    Args:
        step: counted from 0.
        steps: of the whole run.
        schedule: `poly` (1 - t)^0.9 (Chen et al., DeepLab, 2017), `cosine` or `constant`.
        warmup: share of the steps with a linear rise.

    Returns:
        A number from 0 to 1.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    done = min((step - rising) / max(steps - rising, 1), 1.0)
    if schedule == "poly":
        return float((1 - done) ** 0.9)
    return 0.5 * (1 + math.cos(math.pi * done)) if schedule == "cosine" else 1.0


class SegmentModule(LightningModule):
    """Trains a converted network on patches and scores it on whole volumes.

    Args:
        net: (N, C, D, H, W) to logits (N, classes, D, H, W).
        settings: of the run.
        plan: of the run.
        steps: of the whole run.
    """

    def __init__(self, net: nn.Module, settings: SegmentSettings, plan: Plan, steps: int) -> None:
        super().__init__()
        self.save_hyperparameters(
            {"settings": settings.plain(), "plan": plan.plain()}, logger=False
        )
        self.net = net
        self.settings = settings
        self.plan = plan
        self.steps = steps
        loss = DiceCELoss if settings.loss == "dice_ce" else DiceFocalLoss
        self.loss = loss(to_onehot_y=True, softmax=True, batch=True)
        self.losses: list[Tensor] = []
        self.scores: list[Tensor] = []
        self.epoch_dice: float | None = None

    def forward(self, image: Tensor, thickness: float | Tensor = 1.0) -> Tensor:
        """Logits of a batch of patches, with slices so many mm apart."""
        return self.net(image, **beside(self.net, image, thickness))

    def on_train_epoch_start(self) -> None:
        """Forgets the last epoch."""
        self.losses, self.epoch_dice = [], None

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Makes dropout a function of (seed, step), so that a resumed run drops the same."""
        place = (self.settings.seed, self.global_step, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch of patches."""
        loss = self.loss(self(batch["image"], batch["thickness"]).float(), batch["label"])
        self.losses.append(loss.detach())
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Dice of one whole volume, on the grid the network sees."""
        logits = logits_of(
            self.net,
            batch["image"],
            self.plan.patch,
            self.settings.overlap,
            thickness=batch["thickness"],
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
        self.epoch_dice = float(torch.stack(list(unique.values())).nanmean(0).nanmean())
        self.log("val_dice", self.epoch_dice, prog_bar=True, rank_zero_only=True)

    def epoch_loss(self) -> float:
        """Mean training loss of the epoch over all devices."""
        mean = torch.stack(self.losses).mean()
        return float(self.trainer.strategy.reduce(mean, reduce_op="mean"))

    def configure_optimizers(self) -> tuple[list[Optimizer], list[dict[str, Any]]]:
        """The optimiser, and a schedule over all steps of the run."""
        told = self.settings
        weights = [weight for weight in self.net.parameters() if weight.requires_grad]
        optimiser: Optimizer
        if told.optimiser == "adamw":
            optimiser = AdamW(weights, told.learning_rate, weight_decay=told.weight_decay)
        else:
            optimiser = SGD(
                weights,
                told.learning_rate,
                momentum=0.9,
                nesterov=True,
                weight_decay=told.weight_decay,
            )

        def share(step: int) -> float:
            return rate_at(step, self.steps, told.schedule, told.warmup)

        return [optimiser], [{"scheduler": LambdaLR(optimiser, share), "interval": "step"}]
