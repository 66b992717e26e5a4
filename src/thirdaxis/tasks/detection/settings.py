"""What a run of lesion detection can be told."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from thirdaxis.tasks.settings import HounsfieldWindow, Length, RunSettings, Voxels, split_words

Sides = Annotated[tuple[Voxels, ...], BeforeValidator(split_words), Field(min_length=1)]
Ratios = Annotated[tuple[Length, ...], BeforeValidator(split_words), Field(min_length=1)]
Counts = Annotated[tuple[Voxels, Voxels], BeforeValidator(split_words)]
Grey = Annotated[tuple[float, float], BeforeValidator(split_words)]


class DetectSettings(RunSettings):
    """Settings of one run of lesion detection.

    `data` is a folder of DeepLesion (`DL_info.csv` beside `Images_png`), or scans with boxes: see
    `boxes`. What is not told otherwise is that of the detectors of ACS, AlignShift and A3D.
    """

    task: Literal["detect"] = "detect"
    """Boxes around lesions on single slices, seen with their neighbours."""

    network: str = "densenet121"
    """2D backbone by name: `densenet121` (cut after its third block, as published),
    `torchvision:NAME`, `timm:NAME` or `package.module:factory`; `resnet3d:NAME` and `p3d:NAME` make
    the detector of SVD-Net, a feature pyramid on a 3D network of nine slices."""

    boxes: str | None = None
    """CSV or JSON table of boxes, or folder of label maps, relative to `data`, which is then a
    folder of scans; none reads a folder of DeepLesion."""

    leave_out_faulty: bool = False
    """Whether lesions whose row of the table cannot be used are left out, and their number told,
    instead of an error."""

    official: bool = True
    """Whether the official parts of a data set are taken; false, or where there are none, makes
    folds of patients."""

    selection: float = Field(0.15, ge=0, lt=1)
    """Share of the training patients set aside to choose the best epoch by, where there is no
    official validation part; 0 keeps the last epoch. The test part never has a say in it."""

    depth: int = Field(3, ge=1)
    """Slices the network sees, an odd number: the one that is judged in their middle."""

    context: int = Field(0, ge=0)
    """Further slices at each end of these, into which operators look without being judged there.
    With some, `predict --mode slab` finds about what windows find, for so much more work in
    training; the more layers fuse slices, the more it takes."""

    interval: Length | Literal["native"] | None = None
    """Millimetres between these slices, which are interpolated; `native` takes the neighbours as
    they lie where they are 2 mm apart or more, and interpolates others to 2 mm. None is `native`
    for `alignshift`, which knows their distance, and 2 mm otherwise."""

    legacy: bool = False
    """Whether slices are interpolated with the weights of the nearest one alone, as the published
    code of ACS, AlignShift and A3D does it."""

    window: HounsfieldWindow = (-1024.0, 2050.0)
    """Lowest and highest HU."""

    grey: Grey = (-50.0, 205.0)
    """What the ends of the window become; the network takes values as they are."""

    size: int = Field(512, ge=32)
    """Pixels of the longer side of a slice, whose ratio is kept; padded to a square of a multiple
    of 32."""

    scales: Sides | None = None
    """Sizes in training, of which one is drawn for each step; none takes `size`."""

    augment: Literal["deeplesion", "flip", "flips", "reversal", "none"] = "deeplesion"
    """`deeplesion`: shifts by up to 4 %, scales by 20 %, turns by 15° (in 4 of 5 slices) and
    left-right flips; `flip`: those alone; `flips`: up-down too; `reversal`: left-right flips, and
    slices in reverse order; `none`."""

    stem: Literal["sum", "mean", "green", "depth"] = "green"
    """How an RGB stem is adapted to one channel: `sum`, `mean`, or `green` as published."""

    place: str | None = None
    """Pattern of the modules that get the operator, all others see slices by themselves; none takes
    the dense layers of `densenet121`, as published, and all modules of other backbones."""

    to_plane: Literal["group", "centre"] = "group"
    """How `resnet3d:NAME` and `p3d:NAME` go from slices to one picture: `group`, with weights for
    the slices of each channel, or `centre`, the slice in the middle."""

    width: int = Field(512, ge=1)
    """Channels of the 2D map that all heads share."""

    hidden: int = Field(2048, ge=1)
    """Channels of the two layers that judge a box."""

    masks: bool = True
    """Whether outlines are learnt beside boxes: GrabCut of RECIST diameters, or label maps."""

    anchors: Sides = (16, 24, 32, 48, 96, 192)
    """Sides of the boxes that proposals start from, in pixels."""

    ratios: Ratios = (0.5, 1.0, 2.0)
    """Height over width of these."""

    proposals_before: Counts | None = None
    """Proposals before overlapping ones are left out, in training and later; none takes 12,000 and
    6,000, as published. On a CPU with small slices 2,000 and 1,000 save most of a step's time."""

    proposals_after: Counts | None = None
    """Proposals after it, in training and later; none takes 2,000 and 300, as published."""

    score_threshold: float = Field(0.00005, ge=0, lt=1)
    """Detections of a lower score are not told."""

    nms: float = Field(0.5, gt=0, le=1)
    """Overlap (IoU) with a better detection from which another is left out."""

    most: int = Field(50, ge=1)
    """Detections of a slice at most."""

    draws: int = Field(1000, ge=10)
    """Bootstrap draws behind the intervals of the scores."""

    batch: int = Field(8, ge=1)
    """Slices a step, over all devices together."""

    epochs: int = Field(20, ge=1)
    """Number of epochs."""

    epoch_steps: int | None = Field(None, ge=1)
    """Steps an epoch; none visits each training slice once."""

    cache: str | None = None
    """Folder where outlines are kept once they are made; none makes them anew for each run."""

    optimiser: Literal["adamw", "adam", "sgd"] = "sgd"
    """`adamw` (weight decay apart from the gradient), `adam` or `sgd`."""

    learning_rate: float = Field(0.02, gt=0)
    """The highest learning rate, before `reference_batch`."""

    reference_batch: int | None = Field(8, ge=1)
    """Samples a step that `learning_rate` is meant for: with `batch` times `accumulate` of them the
    rate is multiplied by their ratio, the linear scaling rule. None takes the rate as it is."""

    nesterov: bool = False
    """Whether the momentum of `sgd` looks ahead."""

    schedule: Literal["poly", "cosine", "step", "constant"] = "step"
    """`poly` (power 0.9), `cosine`, `step` (with `milestones`) or `constant`, over all steps."""

    milestones: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(split_words)
    ] = (0.45, 0.8)
    """Where `step` multiplies the learning rate by `gamma`: shares of the run (below 1), or epochs
    (from 1). The default is 9 and 16 of 20 epochs."""

    warmup: float = Field(500, ge=0)
    """First steps, in which the learning rate rises: their share of the run (below 1), or their
    number (from 1)."""

    warmup_from: float | None = Field(0.01, gt=0, lt=1)
    """Share of the learning rate that the first step has; none rises from zero."""

    clip: float | None = Field(35.0, gt=0)
    """Largest gradient norm; none does not clip."""

    @model_validator(mode="after")
    def _agree(self) -> "DetectSettings":
        if self.depth % 2 == 0:
            raise ValueError(
                f"depth {self.depth} is even; take an odd number of slices, whose middle is judged"
            )
        if self.scales and min(self.scales) < 32:
            raise ValueError(f"scales {self.scales} have less than the 32 pixels of a detector")
        for name in ("window", "grey"):
            low, high = getattr(self, name)
            if not low < high:
                raise ValueError(f"{name} {low:g}, {high:g} needs its lower end first")
        if self.patience is not None and self.selection == 0 and not self.official:
            raise ValueError("patience needs slices to choose by: selection above 0")
        return self
