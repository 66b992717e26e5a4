"""One training step on photographs with boxes, and average precision on held-out ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thirdaxis.data.coco import CocoSet, MarkedPicture
from thirdaxis.metrics.average_precision import average_precision_of_classes
from thirdaxis.tasks.module import RunModule
from thirdaxis.tasks.pretraining.damage import Damage
from thirdaxis.tasks.pretraining.detect.plan import DetectPretrainPlan
from thirdaxis.tasks.pretraining.detect.settings import DetectPretrainSettings

Found = tuple[Tensor, Tensor, Tensor]
"""Boxes (K, 4), scores (K,) and labels (K,) of a picture, in its own pixels."""
Numbers = tuple[dict[str, float], dict[int, float]]
COLUMNS = 6
DAMAGE = "pictures"


def on_picture(answer: Mapping[str, Tensor], fitted: Sequence[int], size: tuple[int, int]) -> Found:
    """What a network found on a resized and padded picture, in pixels of the picture itself.

    Args:
        answer: ``boxes``, ``scores`` and ``labels``.
        fitted: height and width of the picture as the network saw it, without padding.
        size: of the picture itself.

    Returns:
        On the CPU, without boxes in the padding.
    """
    height, width = size
    across = torch.tensor([width / fitted[1], height / fitted[0]]).repeat(2)
    boxes = answer["boxes"].float().cpu() * across
    boxes = boxes.clamp(torch.zeros(4), torch.tensor([width, height, width, height]).float())
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return boxes[inside], answer["scores"].float().cpu()[inside], answer["labels"].cpu()[inside]


def scored(found: Mapping[str, Found], pictures: Sequence[MarkedPicture]) -> Numbers:
    """COCO's average precision over all classes, and of each label, on pictures that were seen."""
    truth = {one.name: (one.boxes, one.labels, one.crowds) for one in pictures if one.name in found}
    return average_precision_of_classes(found, truth)


class PhotographModule(RunModule):
    """Trains a detector on photographs and scores it on held-out ones.

    Args:
        net: an `SvdDetector` that keeps all slices.
        settings: of the run.
        plan: of the run.
        steps: of the whole run.
        held: pictures to choose by, in the order of their numbers.
    """

    score_name = "AP"

    def __init__(
        self,
        net: nn.Module,
        settings: DetectPretrainSettings,
        plan: DetectPretrainPlan,
        steps: int,
        held: CocoSet,
    ) -> None:
        super().__init__(net, settings, plan, steps)
        self.settings, self.held = settings, held
        self.damage = Damage(settings.damaged_of(plan.pictures + plan.held_out))
        self.rows: list[Tensor] = []

    def forward(  # type: ignore[override]
        self, image: Tensor, targets: list[dict[str, Tensor]] | None = None
    ) -> Any:
        """Losses by name in training, what was found otherwise."""
        if self.told.channels_last:
            image = image.to(memory_format=torch.channels_last_3d)
        return self.net(image, None, targets)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The sum of all losses of one batch of pictures."""
        self.damage.note(batch["damaged"], batch["converted"])
        losses = self(batch["image"], batch["targets"])
        for name, loss in losses.items():
            self.log(f"loss_{name}", loss.detach())
        return self.noted(torch.stack([loss.float() for loss in losses.values()]).sum())

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """What is found on some of the held-out pictures, a row of numbers each."""
        self.damage.note(batch["damaged"], batch["converted"])
        told = zip(batch["number"].tolist(), batch["fitted"].tolist(), strict=True)
        for (number, fitted), answer in zip(told, self(batch["image"]), strict=True):
            one = self.held.pictures[number]
            row = torch.full((2 + COLUMNS * self.settings.most,), torch.nan)
            row[0], row[1] = number, str(self.held.folder / one.name) in batch["damaged"]
            boxes, scores, labels = on_picture(answer, fitted, one.size)
            columns = torch.cat([boxes, scores[:, None], labels[:, None].float()], 1)
            row[2 : 2 + columns.numel()] = columns.flatten()
            self.rows.append(row)

    def on_validation_epoch_end(self) -> None:
        """Average precision over all of them."""
        rows = self.all_gather(torch.stack(self.rows).to(self.device))
        self.rows = []
        found: dict[str, Found] = {}
        # Devices may share a picture where they do not divide evenly: each counts once.
        for row in rows.reshape(-1, rows.shape[-1]).cpu():
            told = row[2:].reshape(-1, COLUMNS)
            told = told[~told[:, 4].isnan()]
            if not row[1]:
                name = self.held.pictures[int(row[0])].name
                found[name] = told[:, :4], told[:, 4], told[:, 5].long()
        self.epoch_score = scored(found, self.held.pictures)[0]["ap"]
        self.log("val_ap", self.epoch_score, prog_bar=True, rank_zero_only=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what was found of damaged pictures; every device comes by here."""
        self.damage.gathered()
        checkpoint[DAMAGE] = self.damage.plain()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with it."""
        self.damage.take(checkpoint[DAMAGE])
