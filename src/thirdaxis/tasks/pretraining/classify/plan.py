"""What the pictures themselves decide about pretraining by classification."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PretrainPlan:
    """What a run has to know of its pictures.

    Args:
        names: of the classes, in order.
        training: number of training pictures.
        validation: number of held-out pictures.
        digest: SHA-256 of names and labels of all of them, by which a resumed run knows them again.
    """

    names: tuple[str, ...]
    training: int
    validation: int
    digest: str

    def plain(self) -> dict[str, Any]:
        """The plan as JSON and a checkpoint can hold it."""
        return asdict(self) | {"names": list(self.names)}


def pretrain_plan_from(told: Mapping[str, Any]) -> PretrainPlan:
    """Builds a plan from what `PretrainPlan.plain` gave."""
    return PretrainPlan(
        names=tuple(map(str, told["names"])),
        training=int(told["training"]),
        validation=int(told["validation"]),
        digest=str(told["digest"]),
    )
