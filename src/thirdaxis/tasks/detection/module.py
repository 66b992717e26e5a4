"""The training and validation step of a run of lesion detection."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thirdaxis.data.lesions.key_slice import KeySlice
from thirdaxis.metrics.froc import froc
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.module import RunModule

Found = tuple[Tensor, Tensor]
"""Boxes (K, 4) and scores (K,) of a slice."""


def on_slice(found: Mapping[str, Tensor], one: KeySlice, plan: DetectPlan) -> Found:
    """What a network found on a slice as it sees it, in pixels of the slice itself.

    Args:
        found: `boxes` and `scores`.
        one: the slice.
        plan: of the run.

    Returns:
        Boxes (K, 4) and scores (K,), on the CPU.
    """
    height, width = one.size
    ends = torch.tensor([0.0, 0.0, 1.0, 1.0])
    boxes = (found["boxes"].float().cpu() + ends) / plan.scale(*one.size) - ends
    limit = torch.tensor([width, height, width, height]) - 1.0
    boxes = boxes.clamp(torch.zeros(4), limit)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)  # not in what was padded
    return boxes[inside], found["scores"].float().cpu()[inside]


class DetectModule(RunModule):
    """Trains a lesion detector and scores it on the slices set aside.

    Args:
        net: a `LesionDetector`.
        settings: of the run.
        plan: of the run.
        steps: of the whole run.
        validation: key slices to choose by, in the order of their numbers.
    """

    score_name = "FROC"

    def __init__(
        self,
        net: nn.Module,
        settings: DetectSettings,
        plan: DetectPlan,
        steps: int,
        validation: Sequence[KeySlice] = (),
    ) -> None:
        super().__init__(net, settings, plan, steps)
        self.plan, self.settings, self.validation = plan, settings, validation
        self.rows: list[Tensor] = []

    def forward(  # type: ignore[override]
        self, image: Tensor, thickness: Tensor, targets: list[dict[str, Tensor]] | None = None
    ) -> Any:
        """Losses by name in training, what was found otherwise."""
        return self.net(image, thickness, targets)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The sum of all losses of one batch of key slices."""
        losses = self(batch["image"], batch["thickness"], batch["targets"])
        for name, loss in losses.items():
            self.log(f"loss_{name}", loss.detach())
        return self.noted(torch.stack([loss.float() for loss in losses.values()]).sum())

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """What is found on some of the slices to choose by, a row of numbers each."""
        answers = self(batch["image"], batch["thickness"])
        for number, answer in zip(batch["number"].tolist(), answers, strict=True):
            boxes, scores = on_slice(answer, self.validation[number], self.plan)
            row = torch.full((1 + 5 * self.settings.most,), torch.nan)
            told = torch.cat([boxes, scores[:, None]], 1).flatten()
            row[0], row[1 : 1 + len(told)] = number, told
            self.rows.append(row)

    def on_validation_epoch_end(self) -> None:
        """Mean sensitivity at 0.5, 1, 2 and 4 false positives a slice over all of them."""
        rows = self.all_gather(torch.stack(self.rows).to(self.device))
        self.rows = []
        # Devices may share a slice where they do not divide evenly: each counts once.
        unique = {int(row[0]): row[1:] for row in rows.reshape(-1, rows.shape[-1]).cpu()}
        found = {}
        for number, row in unique.items():
            told = row.reshape(-1, 5)
            told = told[~told[:, 4].isnan()]
            found[self.validation[number].name] = (told[:, :4], told[:, 4])
        truth = {self.validation[number].name: self.validation[number].boxes for number in unique}
        self.epoch_score = float(froc(found, truth).mean)
        self.log("val_froc", self.epoch_score, prog_bar=True, rank_zero_only=True)
