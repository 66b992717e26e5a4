"""The training and validation step of a classification run, and its losses."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thirdaxis.metrics.classify import score
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.module import RunModule


def class_weights(plan: ClassifyPlan) -> Tensor:
    """What a sample of each class weighs in the loss.

    Args:
        plan: of classes.

    Returns:
        ``(classes,)``; all classes weigh the same, all samples together as many as they are.
    """
    counts = torch.tensor(plan.counts, dtype=torch.float32)
    return counts.sum() / (len(counts) * counts)


class ClassifyModule(RunModule):
    """Trains a converted classifier on boxes and scores it on those set aside.

    Args:
        net: (N, C, D, H, W) to logits (N, outputs).
        settings: of the run.
        plan: of the run.
        steps: of the whole run.
        training: number of training samples.
    """

    score_name = "AUC"

    def __init__(
        self,
        net: nn.Module,
        settings: ClassifySettings,
        plan: ClassifyPlan,
        steps: int,
        training: int,
    ) -> None:
        super().__init__(net, settings, plan, steps)
        self.plan, self.settings = plan, settings
        weights = None
        if settings.balance == "weights" and plan.kind == "classes":
            weights = class_weights(plan)
        elif settings.balance == "weights" and plan.kind == "labels":
            there = torch.tensor(plan.counts, dtype=torch.float32)
            weights = (training - there) / there
        self.register_buffer("class_weights", weights, persistent=False)
        self.found: list[tuple[Tensor, Tensor, Tensor]] = []

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Cross entropy of classes or labels, or the distance of grades in their deviations."""
        if self.plan.kind == "classes":
            return F.cross_entropy(logits, truth, weight=self.class_weights)
        if self.plan.kind == "labels":
            return F.binary_cross_entropy_with_logits(
                logits, truth.float(), pos_weight=self.class_weights
            )
        wanted = (truth - self.plan.mean) / self.plan.spread
        distance = F.mse_loss if self.settings.grade_loss == "mse" else F.smooth_l1_loss
        return distance(logits[:, 0], wanted)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch of boxes."""
        logits = self(batch["image"], batch["thickness"])
        return self.noted(self.loss(logits.float(), batch["truth"]))

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The answers to some of the samples to choose by."""
        answers = self.plan.answers(self(batch["image"], batch["thickness"]))
        self.found.append((batch["number"], answers, batch["truth"]))

    def on_validation_epoch_end(self) -> None:
        """The AUC over all of them, as `thirdaxis.metrics.classify.score` has it."""
        numbers, answers, truth = (torch.cat(parts) for parts in zip(*self.found, strict=True))
        self.found = []
        gathered = [self.all_gather(part) for part in (numbers, answers, truth)]
        if self.trainer.world_size > 1:
            gathered = [part.flatten(0, 1) for part in gathered]
        # Devices may share a sample where they do not divide evenly: each counts once.
        place = {int(number): index for index, number in enumerate(gathered[0].tolist())}
        chosen = torch.tensor([place[number] for number in sorted(place)])
        answers, truth = (part.cpu()[chosen] for part in gathered[1:])
        self.epoch_score = score(answers, truth, self.settings.kind)["auc"]
        self.log("val_auc", self.epoch_score, prog_bar=True, rank_zero_only=True)
