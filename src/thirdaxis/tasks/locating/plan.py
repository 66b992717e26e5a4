"""What the data set of a run that locates lesions decides."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from thirdaxis.data.grid import CANONICAL
from thirdaxis.data.intensity import Percentiles, Window, ZScore
from thirdaxis.tasks.locating.settings import LocateSettings
from thirdaxis.tasks.segmentation.preprocess import Preprocessing


@dataclass(frozen=True)
class LocatePlan:
    """Everything about the data set that a trained network needs to be used again.

    Args:
        channels: of the volumes.
        spacing: mm along (d, h, w) the network sees; none, of all or of an axis, keeps each
            scan's own.
        patch: size (d, h, w) of training patches, in voxels.
        window: size of inference windows.
        volumes: it was trained on.
        lesions: in these.
    """

    channels: int
    spacing: tuple[float | None, float | None, float | None] | None
    patch: tuple[int, int, int]
    window: tuple[int, int, int]
    volumes: int = 0
    lesions: int = 0

    def plain(self) -> dict[str, Any]:
        """The plan as JSON and a checkpoint can hold it."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def locate_plan_from(told: Mapping[str, Any]) -> LocatePlan:
    """Builds a plan from what `LocatePlan.plain` gave."""
    spacing = told["spacing"]
    patch, window = ([int(size) for size in told[name]] for name in ("patch", "window"))
    return LocatePlan(
        int(told["channels"]),
        None if spacing is None else (spacing[0], spacing[1], spacing[2]),
        (patch[0], patch[1], patch[2]),
        (window[0], window[1], window[2]),
        int(told["volumes"]),
        int(told["lesions"]),
    )


def plan_of(
    settings: LocateSettings, channels: int, volumes: int = 0, lesions: int = 0
) -> LocatePlan:
    """The plan of a run on volumes of so many channels."""
    window = settings.predict_patch or settings.patch
    return LocatePlan(channels, settings.spacing, settings.patch, window, volumes, lesions)


def preprocessing(settings: LocateSettings) -> Preprocessing:
    """From a scan as it lies on disk to what the network sees, axial slices upwards."""
    plain = ZScore() if settings.intensity == "zscore" else Percentiles()
    intensity = Window(*settings.window) if settings.window else plain
    return Preprocessing(CANONICAL, settings.spacing, intensity)
