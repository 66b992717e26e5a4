"""What a run that locates lesions by heat maps can be told."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from thirdaxis.tasks.settings import (
    HounsfieldWindow,
    Millimetres,
    RunSettings,
    Share,
    Size,
    Spacing,
    When,
    split_words,
)

Shares = Annotated[tuple[Share, Share, Share], BeforeValidator(split_words)]


class LocateSettings(RunSettings):
    """Settings of one run that learns heat maps of lesions in volumes.

    `data` is a folder of scans, `boxes` tells the lesions in them. What is not told otherwise is as
    AH-Net looks for lesions, as far as its paper says.
    """

    task: Literal["locate"] = "locate"
    """Points at lesions in volumes, by a heat map that any network with one output learns."""

    network: str = "ahnet:resnet50"
    """2D network by name: `unet`, `torchvision:NAME`, `timm:NAME`, `smp:ARCH/ENCODER`,
    `ahnet:NAME`, `gcn:NAME` or `package.module:factory`."""

    boxes: str
    """CSV or JSON table of boxes, or folder of label maps (`labels`, `labels:2`), relative to
    `data`; see `thirdaxis.data.lesions.volumes.read_boxed_volumes`."""

    leave_out_faulty: bool = False
    """Whether rows of the table that cannot be used are left out, and their number told, instead
    of an error."""

    patient: str | None = None
    """Regular expression whose match in a volume's name is the patient, such as `^[^_]+`, or
    `FILE.csv:COLUMN`; none takes the table's patients, or each volume as one of its own."""

    official: bool = True
    """Whether the official parts of a table are taken; false, or where there are none, makes folds
    of patients."""

    selection: float = Field(0.15, ge=0, lt=1)
    """Share of the training patients set aside to choose the best epoch by, where there is no
    official validation part; 0 keeps the last epoch. The test part never has a say in it."""

    spacing: Spacing | None = None
    """Voxel spacing d,h,w in mm the network sees; none keeps each scan's own (`1,own,own` for depth
    alone)."""

    intensity: Literal["zscore", "percentiles", "window"] = "zscore"
    """`zscore` and `percentiles` per volume, or `window` (CT) with `window` in HU."""

    window: HounsfieldWindow | None = None
    """Lowest and highest HU of `intensity: window`."""

    patch: Size = (32, 256, 256)
    """Size of training patches and inference windows in voxels."""

    predict_patch: Size | None = None
    """Size of the windows of inference in voxels; none takes that of the patches."""

    overlap: Share | Shares = 0.5
    """Of neighbouring windows of inference, along all axes or along each."""

    patches_per_volume: int = Field(4, ge=1)
    """Patches of an epoch for each training volume."""

    positive: float = Field(0.7, gt=0, le=1)
    """Share of the patches that hold a lesion's place; the others are drawn anywhere, away from
    lesions' centres where there is room."""

    augment: Literal["light", "flips", "none"] = "light"
    """`flips`: left-right ones; `light`: these, turns in the slice by up to 15°, scales by 10 %,
    brightness and contrast; `none`."""

    sigma: float = Field(0.25, gt=0)
    """Standard deviation of a lesion's Gaussian along an axis over the size of its box there; at
    least half a voxel is taken."""

    joined: Literal["sum", "max"] = "sum"
    """How Gaussians that overlap become one map."""

    focal_from: When = None
    """When the squared error becomes focal: after that share of the epochs (below 1) or that many
    (from 1), or on a `plateau` of the training loss; none keeps it."""

    focal_gamma: float = Field(2.0, ge=0)
    """How much less the focal form counts voxels that are nearly right; 0 is the squared error."""

    largest_error: float = Field(1.0, gt=0)
    """The largest squared error the focal form expects: that of a peak of 1 that was missed."""

    loss_rim: int = Field(0, ge=0)
    """Slices at either end of a patch that the loss leaves out: with 1, and patches of 3 slices,
    the middle one is learnt from itself and its neighbours. Nor do they count in prediction, where
    a volume's last slices stand in for neighbours beyond its ends."""

    suppress: Millimetres = (3.0, 5.0, 5.0)
    """Millimetres d,h,w around a voxel in which nothing may be higher where it is to be a peak."""

    least: float = 0.02
    """Peaks of a lower score are not told."""

    most: int = Field(50, ge=1)
    """Points of a volume at most, those of the highest scores."""

    draws: int = Field(1000, ge=10)
    """Bootstrap draws behind the intervals of the scores."""

    optimiser: Literal["adamw", "adam", "sgd"] = "adam"
    """`adamw` (weight decay apart from the gradient), `adam` or `sgd`."""

    learning_rate: float = Field(1e-3, gt=0)
    """The highest learning rate."""

    weight_decay: float = Field(0.0, ge=0)
    """Of the optimiser."""

    @model_validator(mode="after")
    def _agree(self) -> "LocateSettings":
        if (self.intensity == "window") != (self.window is not None):
            raise ValueError("intensity 'window' and window (lowest, highest HU) go together")
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError(f"window {self.window} needs its lower end first")
        if self.patch[0] <= 2 * self.loss_rim:
            needed = 2 * self.loss_rim + 1
            raise ValueError(
                f"loss_rim {self.loss_rim} needs a patch of {needed} slices, not {self.patch}"
            )
        return self
