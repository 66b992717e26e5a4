"""The training and validation step of pretraining by classification."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thirdaxis.metrics.ranked import top_hits
from thirdaxis.tasks.module import RunModule
from thirdaxis.tasks.pretraining.classify.data import NOBODY
from thirdaxis.tasks.pretraining.classify.plan import PretrainPlan
from thirdaxis.tasks.pretraining.classify.settings import ClassifyPretrainSettings
from thirdaxis.tasks.pretraining.damage import Damage

DAMAGE = "pictures"


def counted(logits: Tensor, truth: Tensor) -> Tensor:
    """What adds up over batches: (pictures, top-1 hits, top-5 hits, summed cross entropy).

    Args:
        logits: (N, classes).
        truth: (N,), of which `NOBODY` counts nowhere.
    """
    own = truth != NOBODY
    logits, truth = logits[own].float(), truth[own]
    hits = [top_hits(logits, truth, k).sum() for k in (1, 5)]
    return torch.stack([own.sum(), *hits, F.cross_entropy(logits, truth, reduction="sum")]).double()


def scores_of(sums: Tensor, classes: int) -> dict[str, float]:
    """Accuracies and mean cross entropy from the sum of what `counted` gave; nan of no picture.

    Five answers are always right of five classes; top-5 is told of more.
    """
    top_1, top_5, entropy = (sums[1:] / sums[0]).tolist()
    more = {"top-5": top_5} if classes > 5 else {}
    return {"top-1": top_1, **more, "cross_entropy": entropy}


class ClassifyPretrainModule(RunModule):
    """Trains a network to name what photographs show.

    Args:
        net: (N, 1, 3, H, W), or (N, 3, H, W) in 2D, to logits (N, classes).
        settings: of the run.
        plan: of the run.
        steps: of the whole run.
    """

    score_name = "top-1"

    def __init__(
        self,
        net: nn.Module,
        settings: ClassifyPretrainSettings,
        plan: PretrainPlan,
        steps: int,
    ) -> None:
        super().__init__(net, settings, plan, steps)
        self.settings, self.classes = settings, len(plan.names)
        self.damage = Damage(settings.damaged_of(plan.training + plan.validation))
        self.sums: list[Tensor] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The loss of one batch of views."""
        self.damage.note(batch["damaged"], batch["converted"])
        logits = self(batch["image"]).float()
        return self.noted(
            F.cross_entropy(
                logits,
                batch["truth"],
                ignore_index=NOBODY,
                label_smoothing=self.settings.smoothing,
            )
        )

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Counts hits among some of the held-out pictures."""
        self.damage.note(batch["damaged"], batch["converted"])
        self.sums.append(counted(self(batch["image"]), batch["truth"]))

    def on_validation_epoch_end(self) -> None:
        """The accuracy over all of them, on all devices."""
        sums = torch.stack(self.sums).sum(0)
        self.sums = []
        if self.trainer.world_size > 1:
            sums = self.all_gather(sums).sum(0)
        scores = scores_of(sums, self.classes)
        self.epoch_score = scores["top-1"]
        for name, value in scores.items():
            self.log(f"val_{name}", value, prog_bar=name == "top-1", rank_zero_only=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what was found of damaged pictures; every device comes by here."""
        self.damage.gathered()
        checkpoint[DAMAGE] = self.damage.plain()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with it."""
        self.damage.take(checkpoint[DAMAGE])
