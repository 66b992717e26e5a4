"""What the training step of every task shares: the optimiser, its schedule, the epoch's numbers."""

import math
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from thirdaxis.convert.lift import beside
from thirdaxis.tasks.kinds import AnyPlan
from thirdaxis.tasks.settings import RunSettings


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


class RunModule(LightningModule):
    """Trains a converted network; a task adds the steps and sets `epoch_score` after validation.

    Args:
        net: maps (N, C, D, H, W) to an answer.
        settings: of the run.
        plan: of the run.
        steps: optimiser steps of the whole run.
    """

    score_name: ClassVar[str]
    """What `epoch_score` is, such as `Dice`; higher is better. Told, and kept as `val_dice`."""

    def __init__(self, net: nn.Module, settings: RunSettings, plan: AnyPlan, steps: int) -> None:
        super().__init__()
        self.save_hyperparameters(
            {"settings": settings.plain(), "plan": plan.plain()}, logger=False
        )
        self.net = net
        self.told = settings
        self.steps = steps
        self.losses: list[Tensor] = []
        self.epoch_score: float | None = None

    def forward(self, image: Tensor, thickness: float | Tensor = 1.0) -> Tensor:
        """Answers to a batch of volumes, with slices so many mm apart."""
        return self.net(image, **beside(self.net, image, thickness))

    def on_train_epoch_start(self) -> None:
        """Forgets the last epoch."""
        self.losses, self.epoch_score = [], None

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Makes dropout a function of (seed, batch), so that a resumed run drops the same."""
        place = (self.told.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def noted(self, loss: Tensor) -> Tensor:
        """The loss of a training step, counted into the epoch's mean."""
        self.losses.append(loss.detach())
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def epoch_loss(self) -> float:
        """Mean training loss of the epoch over all devices."""
        mean = torch.stack(self.losses).mean()
        return float(self.trainer.strategy.reduce(mean, reduce_op="mean"))

    def configure_optimizers(self) -> tuple[list[Optimizer], list[dict[str, Any]]]:
        """The optimiser, and a schedule over all steps of the run."""
        told = self.told
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
