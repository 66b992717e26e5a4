"""What a segmentation run can be told."""

import re
from typing import Literal

from pydantic import Field, model_validator

from thirdaxis.tasks.settings import HounsfieldWindow, Millimetres, RunSettings, Size


class SegmentSettings(RunSettings):
    """Settings of one segmentation run.

    `data` is a folder in Medical Segmentation Decathlon or nnU-Net v2 layout.
    """

    task: Literal["segment"] = "segment"
    """Label maps of volumes."""

    orientation: str = Field("SPL", pattern="^[RLAPSI]{3}$")
    """Axis code of the arrays the network sees; `SPL` puts axial slices along depth."""

    spacing: Literal["median"] | Millimetres | None = None
    """Voxel spacing in mm the network sees; none keeps each scan's own, `median` takes the median
    of the training scans."""

    intensity: Literal["zscore", "percentiles", "window"] = "zscore"
    """`zscore` and `percentiles` per volume, or `window` (CT) with `window` in HU."""

    window: HounsfieldWindow | None = None
    """Lowest and highest HU of `intensity: window`."""

    patch: Size | None = None
    """Size of training patches and inference windows in voxels; none takes the median size of the
    training scans, rounded up to multiples of 8, at most 48×128×128."""

    patches_per_volume: int = Field(2, ge=1)
    """Patches an epoch takes from each training volume."""

    foreground: float = Field(0.67, gt=0, lt=1)
    """Share of the patches that are centred on foreground."""

    augment: bool = True
    """Random left-right flips, small rotations and scalings, intensity changes."""

    loss: Literal["dice_ce", "dice_focal"] = "dice_ce"
    """`dice_ce` or `dice_focal`."""

    patient: str | None = None
    """Regular expression whose match in a case name is the patient, such as `^[^_]+`; none takes
    each case as a patient of its own."""

    largest_component: bool = False
    """Whether only the largest connected component of each label is kept in predictions."""

    overlap: float = Field(0.5, ge=0, lt=1)
    """Of neighbouring windows in sliding-window inference."""

    @model_validator(mode="after")
    def _agree(self) -> "SegmentSettings":
        if (self.intensity == "window") != (self.window is not None):
            raise ValueError("intensity 'window' and window (lowest, highest HU) go together")
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError(f"window {self.window} needs its lower end first")
        if self.patient is not None:
            try:
                re.compile(self.patient)
            except re.error as error:
                raise ValueError(f"patient {self.patient!r} is no regular expression") from error
        return self
