"""How photographs with boxes come to a detector, and what their data set decided."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SLICES = 3


@dataclass(frozen=True)
class DetectPretrainPlan:
    """What a pretraining on photographs with boxes found in its data.

    Args:
        names: of the categories, that of label 1 first.
        ids: of the categories in their file.
        size: pixels of the longer side of held-out pictures.
        pictures: that were trained on, each with a box at least.
        boxes: on these.
        held_out: pictures.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]
    size: int
    pictures: int = 0
    boxes: int = 0
    held_out: int = 0

    def plain(self) -> dict[str, Any]:
        """The plan as JSON and a checkpoint can hold it."""
        return asdict(self) | {"names": list(self.names), "ids": list(self.ids)}


def detect_pretrain_plan_from(told: Mapping[str, Any]) -> DetectPretrainPlan:
    """Builds a plan from what `DetectPretrainPlan.plain` gave."""
    return DetectPretrainPlan(
        names=tuple(str(name) for name in told["names"]),
        ids=tuple(int(number) for number in told["ids"]),
        size=int(told["size"]),
        pictures=int(told["pictures"]),
        boxes=int(told["boxes"]),
        held_out=int(told["held_out"]),
    )
