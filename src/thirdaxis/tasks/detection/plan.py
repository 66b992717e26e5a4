"""How slices come to a lesion detector, and what its data set decided."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from torch import Tensor

from thirdaxis.data.intensity import Window
from thirdaxis.data.lesions.stack import INTERVAL_MM, interval_for
from thirdaxis.tasks.detection.settings import DetectSettings

STRIDE = 32


@dataclass(frozen=True)
class DetectPlan:
    """Everything about the data that a trained detector needs to be used again.

    Args:
        depth: slices it sees, an odd number.
        interval: mm between them, or ``native``; see `interval_for`.
        window: lowest and highest HU.
        grey: what these become.
        size: pixels of the longer side of a slice.
        masks: whether it draws outlines.
        slices: key slices it was trained on.
        lesions: on these.
        context: slices it sees beyond these at either end.
    """

    depth: int
    interval: float | Literal["native"]
    window: tuple[float, float]
    grey: tuple[float, float]
    size: int
    masks: bool
    slices: int = 0
    lesions: int = 0
    context: int = 0

    @property
    def seen(self) -> int:
        """Slices that the network gets."""
        return self.depth + 2 * self.context

    @property
    def side(self) -> int:
        """Pixels of the padded square that the network gets."""
        return math.ceil(self.size / STRIDE) * STRIDE

    def neighbours(self, spacing: float) -> tuple[float | None, float]:
        """How slices are read, and the thickness that the network is told.

        Args:
            spacing: of the series' slices in mm; nan where unknown.

        Returns:
            The mm between the slices to read, none for the neighbours; and the mm between the
            slices that are read so, nan where unknown.
        """
        interval = interval_for(spacing, self.interval)
        if interval is None:
            return None, spacing
        return interval, interval if spacing > 0 else math.nan

    def grey_of(self, slices: Tensor) -> Tensor:
        """Grey values of slices in HU."""
        black, white = self.grey
        return black + (white - black) * Window(*self.window)(slices)

    def scale(self, height: int, width: int) -> float:
        """Pixels the network sees for one pixel of a slice of this size."""
        return self.size / max(height, width)

    def plain(self) -> dict[str, Any]:
        """The plan as JSON and a checkpoint can hold it, and what the card of a model tells."""
        told = asdict(self) | {"window": list(self.window), "grey": list(self.grey)}
        between = None if self.interval == "native" else self.interval
        return told | {
            "names": ["lesion"],
            "channels": 1,
            "spacing": [between, None, None],
            "patch": [self.seen, self.side, self.side],
        }

    @classmethod
    def of(cls, settings: DetectSettings, *, slices: int = 0, lesions: int = 0) -> Self:
        """The plan of a run on so many slices with so many lesions."""
        usual: float | Literal["native"] = (
            "native" if settings.fusion == "alignshift" else INTERVAL_MM
        )
        return cls(
            depth=settings.depth,
            context=settings.context,
            interval=settings.interval or usual,
            window=settings.window,
            grey=settings.grey,
            size=settings.size,
            masks=settings.masks,
            slices=slices,
            lesions=lesions,
        )


def detect_plan_from(told: Mapping[str, Any]) -> DetectPlan:
    """Builds a plan from what `DetectPlan.plain` gave."""
    interval = told["interval"]
    return DetectPlan(
        depth=int(told["depth"]),
        interval="native" if interval == "native" else float(interval),
        window=(float(told["window"][0]), float(told["window"][1])),
        grey=(float(told["grey"][0]), float(told["grey"][1])),
        size=int(told["size"]),
        masks=bool(told["masks"]),
        slices=int(told["slices"]),
        lesions=int(told["lesions"]),
        context=int(told.get("context", 0)),  # runs of before it had none
    )
