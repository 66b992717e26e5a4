"""What the data set itself decides about a classification run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassifyPlan:
    """Everything about the data set that a trained classifier needs to be used again.

    Args:
        kind: ``classes``, ``labels`` or ``grade``.
        names: of the classes or labels in order; of a grade, its column.
        counts: training samples of each class or with each label; of a grade, all of them.
        channels: of a volume.
        size: (d, h, w) voxels the network sees.
        mean: of the training grades; 0 otherwise.
        spread: standard deviation of the training grades; 1 otherwise.
    """

    kind: str
    names: tuple[str, ...]
    counts: tuple[int, ...]
    channels: int
    size: tuple[int, int, int]
    mean: float = 0.0
    spread: float = 1.0

    @property
    def outputs(self) -> int:
        """Channels of the network's answer."""
        return len(self.names)

    def answers(self, logits: Tensor) -> Tensor:
        """What the network says, from its last layer.

        Args:
            logits: ``(N, outputs)``.

        Returns:
            Probabilities ``(N, outputs)``, of classes together 1; of a grade the number, ``(N,)``.
        """
        logits = logits.float()
        if self.kind == "classes":
            return logits.softmax(1)
        return logits.sigmoid() if self.kind == "labels" else self.mean + self.spread * logits[:, 0]

    def truth(self, labels: list[tuple[str, ...]]) -> Tensor:
        """Labels as they are written, as numbers: classes, zeros and ones, or grades."""
        if self.kind == "classes":
            return torch.tensor([self.names.index(one) for (one,) in labels])
        if self.kind == "labels":
            return torch.tensor([[int(mark) for mark in marks] for marks in labels])
        return torch.tensor([float(one) for (one,) in labels])

    def plain(self) -> dict[str, Any]:
        """The plan as JSON and a checkpoint can hold it."""
        told = asdict(self)
        return told | {name: list(told[name]) for name in ("names", "counts", "size")}


def classify_plan_from(told: Mapping[str, Any]) -> ClassifyPlan:
    """Builds a plan from what `ClassifyPlan.plain` gave."""
    d, h, w = (int(length) for length in told["size"])
    return ClassifyPlan(
        kind=str(told["kind"]),
        names=tuple(map(str, told["names"])),
        counts=tuple(map(int, told["counts"])),
        channels=int(told["channels"]),
        size=(d, h, w),
        mean=float(told["mean"]),
        spread=float(told["spread"]),
    )
