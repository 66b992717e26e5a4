"""What a segmentation run can be told."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from thirdaxis.data.patients import TABLE
from thirdaxis.tasks.settings import (
    HounsfieldWindow,
    RunSettings,
    Share,
    Size,
    Spacing,
    When,
    split_words,
)

Augment = Annotated[
    Literal["light", "lidc", "ahnet", "none"],
    BeforeValidator(lambda told: ("light" if told else "none") if isinstance(told, bool) else told),
]
Values = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    BeforeValidator(lambda told: (told,) if isinstance(told, int) else told),
]


class SegmentSettings(RunSettings):
    """Settings of one segmentation run.

    `data` is a folder in Medical Segmentation Decathlon or nnU-Net v2 layout, or one of `images/`
    beside `masks/` or `labels/` with files of equal names.
    """

    task: Literal["segment"] = "segment"
    """Label maps of volumes."""

    labels: dict[str, Values] | None = None
    """Classes to learn: name -> label value, or values that are merged, such as `liver: [1, 2]` for
    tumours as liver; other values become background. None takes those of the data set."""

    regions: dict[str, tuple[str, ...]] | None = None
    """Unions of classes that the held-out scans are scored by besides: name -> classes, such as
    `whole liver: [liver, tumour]`."""

    orientation: str = Field("SPL", pattern="^[RLAPSI]{3}$")
    """Axis code of the arrays the network sees; `SPL` puts axial slices along depth."""

    spacing: Literal["median"] | Spacing | None = None
    """Voxel spacing in mm the network sees; none keeps each scan's own (`1,own,own` for depth
    alone), `median` takes the median of the training scans."""

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

    augment: Augment = "light"
    """`light`: left-right flips, small rotations and scalings, brightness and contrast; `lidc`: any
    quarter turns and a flip, as ACS trained on nodules (needs a cube as patch); `ahnet`: turns by
    20 degrees and mirrors in the plane and scalings by a fifth, as AH-Net trained on livers;
    `none`. True is `light`, false `none`."""

    loss: Literal["dice_ce", "dice_focal", "dice", "ce", "focal"] = "dice_ce"
    """Soft Dice and cross entropy, Dice and focal loss, or one of them alone."""

    dice_weight: float = Field(1.0, gt=0)
    """Factor of the Dice loss."""

    voxel_weight: float = Field(1.0, gt=0)
    """Factor of cross entropy or focal loss."""

    class_weights: Annotated[
        tuple[Annotated[float, Field(ge=0)], ...] | None, BeforeValidator(split_words)
    ] = None
    """One factor a class, background first; none weighs all classes the same."""

    focal_gamma: float = Field(2.0, ge=0)
    """How much less the focal loss counts voxels that are right already; 0 is cross entropy."""

    focal_from: When = None
    """When cross entropy becomes focal loss: after that share of the epochs (below 1) or that many
    (from 1), or on a `plateau` of the training loss; none leaves `loss` as it is."""

    loss_rim: int = Field(0, ge=0)
    """Slices at either end of a patch that the loss leaves out: with 1, and patches of 3 slices,
    the middle one is learnt from itself and its neighbours. Nor do they count in prediction, where
    a volume's last slices stand in for neighbours beyond its ends."""

    dice_over: Literal["batch", "sample"] = "batch"
    """Whether Dice is of all voxels of a batch together, or the mean over its samples."""

    dice_background: bool = True
    """Whether background is a class of the Dice loss."""

    dice_smooth: float = Field(1e-5, gt=0)
    """Added to the numerator and to the denominator of Dice."""

    patient: str | None = None
    """Regular expression whose match in a case name is the patient, such as `^[^_]+`, or
    `FILE.csv:COLUMN`, a table in the data folder whose first column names the case or its file;
    none takes each case as a patient of its own."""

    largest_component: bool = False
    """Whether only the largest connected component of each label is kept in predictions."""

    predict_patch: Size | None = None
    """Size of the windows of sliding-window inference in voxels; none takes that of the patches."""

    overlap: Share | tuple[Share, Share, Share] = 0.5
    """Of neighbouring windows in sliding-window inference, 0 to below 1, along all axes or along
    each."""

    @model_validator(mode="after")
    def _agree(self) -> "SegmentSettings":
        if (self.intensity == "window") != (self.window is not None):
            raise ValueError("intensity 'window' and window (lowest, highest HU) go together")
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError(f"window {self.window} needs its lower end first")
        if self.focal_from is not None and "ce" not in self.loss.split("_"):
            kind = "is focal already" if "focal" in self.loss else "has no focal form"
            raise ValueError(f"focal_from: the loss {self.loss!r} {kind}; take ce or dice_ce")
        if self.loss_rim and (self.patch is None or self.patch[0] <= 2 * self.loss_rim):
            needed = 2 * self.loss_rim + 1
            raise ValueError(
                f"loss_rim {self.loss_rim} needs a patch of {needed} slices, not {self.patch}"
            )
        if self.augment == "lidc" and (self.patch is None or len(set(self.patch)) > 1):
            raise ValueError(f"augment 'lidc' turns patches and needs a cube, not {self.patch}")
        if self.patient is not None and not TABLE.match(self.patient):
            try:
                re.compile(self.patient)
            except re.error as error:
                raise ValueError(f"patient {self.patient!r} is no regular expression") from error
        return self
