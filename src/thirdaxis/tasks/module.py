"""What the training step of every task shares: the optimiser, its schedule, the epoch's numbers."""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from thirdaxis.convert.lift import beside
from thirdaxis.nets.frozen import hold_frozen, thaw
from thirdaxis.tasks.kinds import AnyPlan
from thirdaxis.tasks.schedule import stepping
from thirdaxis.tasks.settings import RunSettings, When
from thirdaxis.tasks.switch import has_begun


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
        self.past_losses: list[float] = []
        # Weights to be trained later belong to the optimiser, and to the processes that share
        # gradients, from the start; until then they are locked, and have no gradient.
        self.locked = thaw(net, settings.freeze) if settings.unlock_at is not None else []

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for parts that are frozen: their norms keep their statistics."""
        super().train(mode)
        hold_frozen(self.net)
        return self

    def forward(self, image: Tensor, thickness: float | Tensor = 1.0) -> Tensor:
        """Answers to a batch of volumes, with slices so many mm apart."""
        if self.told.channels_last:
            image = image.to(memory_format=torch.channels_last_3d)
        return self.net(image, **beside(self.net, image, thickness))

    def on_train_epoch_start(self) -> None:
        """Forgets the last epoch, and locks or unlocks what is to be trained later."""
        self.losses, self.epoch_score = [], None
        unlocked = self.has_begun(self.told.unlock_at)
        for weight in self.locked:
            weight.requires_grad_(unlocked)
        self.train()  # Lightning leaves each part in the mode in which it was

    def has_begun(self, when: When) -> bool:
        """Whether a change of the run is made before this epoch, see `thirdaxis.tasks.switch`."""
        epochs, plateau = self.told.epochs, self.told.plateau
        return has_begun(when, self.past_losses, epochs=epochs, plateau=plateau)

    def changes(self) -> list[str]:
        """What has changed in this epoch or one before it, in words."""
        return ["unlocked"] if self.locked and self.has_begun(self.told.unlock_at) else []

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
        return stepping(self.told, self.net, self.steps)
