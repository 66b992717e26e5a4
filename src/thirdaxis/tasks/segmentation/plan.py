"""What the data set itself decides about a run: its classes, its channels, the spacing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """Everything about the data set that a trained network needs to be used again.

    Args:
        labels: label value 0, 1, 2 ... -> name; 0 is background.
        channels: names of the image channels, in order.
        spacing: voxel spacing (d, h, w) in mm the network sees; none, of all or of an axis, keeps
            each scan's own.
        anisotropy: largest over smallest median spacing of the training scans.
        patch: size (d, h, w) of training patches, in voxels.
        window: size of inference windows; none takes that of the patches.
    """

    labels: dict[int, str]
    channels: tuple[str, ...]
    spacing: tuple[float | None, float | None, float | None] | None
    anisotropy: float
    patch: tuple[int, int, int]
    window: tuple[int, int, int] | None = None

    @property
    def classes(self) -> int:
        """Number of classes, background included."""
        return len(self.labels)

    @property
    def foreground(self) -> tuple[int, ...]:
        """Label values other than background."""
        return tuple(value for value in sorted(self.labels) if value != 0)

    def plain(self) -> dict[str, Any]:
        """The plan as JSON and a checkpoint can hold it."""
        told = asdict(self)
        told["labels"] = {str(value): name for value, name in self.labels.items()}
        told["channels"] = list(self.channels)
        told["spacing"] = None if self.spacing is None else list(self.spacing)
        told["patch"] = list(self.patch)
        told["window"] = None if self.window is None else list(self.window)
        return told


def plan_from(told: Mapping[str, Any]) -> Plan:
    """Builds a plan from what `Plan.plain` gave."""
    spacing: Sequence[float | None] | None = told["spacing"]
    d, h, w = (int(size) for size in told["patch"])
    window: Sequence[int] | None = told.get("window")
    return Plan(
        labels={int(value): str(name) for value, name in told["labels"].items()},
        channels=tuple(told["channels"]),
        spacing=None if spacing is None else (spacing[0], spacing[1], spacing[2]),
        anisotropy=float(told["anisotropy"]),
        patch=(d, h, w),
        window=None if window is None else (window[0], window[1], window[2]),
    )
