"""From a scan as it lies on disk to the tensor the network sees; the same for training and use."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from thirdaxis.data.grid import to_grid
from thirdaxis.data.intensity import Percentiles, Window, ZScore
from thirdaxis.data.volume import Volume
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.settings import SegmentSettings


@dataclass(frozen=True)
class Preprocessing:
    """Brings scans to one orientation, one spacing and one intensity range.

    Args:
        orientation: axis code of the arrays, such as `SPL`.
        spacing: (d, h, w) in mm, or none for each scan's own.
        intensity: maps (C, D, H, W) to (C, D, H, W).
    """

    orientation: str
    spacing: tuple[float | None, float | None, float | None] | None
    intensity: Callable[[Tensor], Tensor]

    def image(self, image: Volume) -> Volume:
        """The scan as the network sees it, (C, D, H, W) float32."""
        moved = to_grid(image, self.orientation, self.spacing, mode="bilinear")
        return Volume(self.intensity(moved.array.float()).contiguous(), moved.affine)

    def labels(self, labels: Volume) -> Volume:
        """The label map on the grid of `image`, nearest neighbour."""
        return to_grid(labels, self.orientation, self.spacing, mode="nearest")


def preprocessing(settings: SegmentSettings, plan: Plan) -> Preprocessing:
    """Builds the preprocessing that a run's settings and data set ask for."""
    intensity: Callable[[Tensor], Tensor]
    if settings.window is not None:
        intensity = Window(*settings.window)
    elif settings.intensity == "percentiles":
        intensity = Percentiles()
    else:
        intensity = ZScore()
    return Preprocessing(settings.orientation, plan.spacing, intensity)
