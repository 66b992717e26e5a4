"""What a classification run can be told."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from thirdaxis.data.crops import Box
from thirdaxis.data.samples import Columns, plain_label
from thirdaxis.errors import UsageError
from thirdaxis.tasks.settings import (
    HounsfieldWindow,
    Millimetres,
    RunSettings,
    Size,
    split_words,
)


def _words(value: Any) -> Any:
    """Lets one name stand for a list, and `a,b` from a command line for two."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [plain_label(part) for part in value] if isinstance(value, list | tuple) else value


def _mapping(value: Any) -> Any:
    """Lets whole numbers in YAML stand for labels as they are written in a table."""
    if isinstance(value, dict):
        return {plain_label(label): plain_label(name) for label, name in value.items()}
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Three = Annotated[tuple[str, str, str], BeforeValidator(_words)]
Labels = Annotated[dict[str, str], BeforeValidator(_mapping)]
Voxels3 = Annotated[Size, BeforeValidator(split_words)]


class ClassifySettings(RunSettings):
    """Settings of one classification run.

    `data` is a CSV table of samples with a line of column names, or a volume set of MedMNIST
    (`.npz`), whose settings of columns and boxes are its own.
    """

    task: Literal["classify"] = "classify"
    """One class, several labels, or a grade for each volume or crop."""

    network: str = "torchvision:resnet18"
    """2D classifier by name: `torchvision:NAME`, `timm:NAME`, `lidc:NAME` (fine maps, for small
    crops) or `package.module:factory`."""

    batch: int = Field(16, ge=1)
    """Samples a step, over all devices together."""

    learning_rate: float = Field(1e-3, gt=0)
    """The highest learning rate."""

    epoch_steps: int | None = Field(None, ge=1)
    """Steps an epoch; none visits each training sample once."""

    kind: Literal["classes", "labels", "grade"] = "classes"
    """`classes`: one class out of several, two included (cross entropy); `labels`: several labels,
    each there or not (binary cross entropy); `grade`: an ordinal number (regression)."""

    file_column: str = "file"
    """Column of the scans' files, relative to `image_folder`."""

    label_columns: Words = ("label",)
    """Column of the label; of `kind: labels` one for each label, with 0 and 1."""

    patient_column: str | None = None
    """Column of the patient, who is never in two parts of a split; none takes each file as a
    patient of its own."""

    mask_column: str | None = None
    """Column of the masks' files, relative to `mask_folder`."""

    centre_columns: Three | None = None
    """Columns of x, y and z of the place to look at."""

    centre_unit: Literal["ras", "lps", "voxel"] = "ras"
    """Of the centre: mm in the patient as NIfTI (`ras`) or as DICOM and ITK (`lps`) have it, or
    `voxel`, counted from 0 along the file's axes."""

    spacing_columns: Three | None = None
    """Columns of x, y and z spacing in mm that replace those of the files."""

    part_column: str | None = None
    """Column of an official split with `train`, `val` and `test`; none makes folds."""

    image_folder: str = "."
    """Folder of the scans, relative to the table."""

    mask_folder: str = "."
    """Folder of the masks, relative to the table."""

    classes: Labels | None = None
    """What labels as written stand for, such as `{1: benign, 2: benign, 4: malignant}`; none takes
    them as they are."""

    drop: Words = ()
    """Rows with one of these labels, as written, are left out."""

    class_names: Words | None = None
    """The classes in order, of two the second is the positive one; none sorts them."""

    around: Literal["mask", "centre", "middle", "whole"] = "whole"
    """Where the box of a scan lies that the network sees: around the centre of mass of the mask,
    around the centre, in the middle of the scan, or the `whole` of it."""

    size: Voxels3 | None = None
    """Size of the box in voxels; a whole scan is resampled to it."""

    size_mm: Millimetres | None = None
    """Size of the box in mm, with either `spacing` or `size`."""

    spacing: Millimetres | None = None
    """Voxel spacing in mm the network sees; none keeps each scan's own."""

    orientation: str = Field("SPL", pattern="^[RLAPSI]{3}$")
    """Axis code of the arrays the network sees; `SPL` puts axial slices along depth."""

    intensity: Literal["zscore", "percentiles", "window", "bytes"] | None = None
    """`zscore` and `percentiles` per box, `window` (CT) with `window` in HU, or `bytes` (0 to 255
    becomes 0 to 1); none takes `bytes` for MedMNIST and `zscore` otherwise."""

    window: HounsfieldWindow | None = None
    """Lowest and highest HU of `intensity: window`."""

    augment: Literal["none", "light", "lidc"] = "light"
    """`light`: left-right flips, small rotations and scalings, brightness and contrast; `lidc`: any
    quarter turns and a flip, as ACS trained on nodules (needs boxes of equal sides)."""

    jitter: int | None = Field(None, ge=0)
    """Voxels by which the box is shifted at random along each axis in training; none takes 5 for
    `lidc`, 2 for `light`, and 0 for whole scans and without augmentation."""

    balance: Literal["none", "weights", "sampler"] = "weights"
    """Against classes of unlike size: the rarer ones weigh more in the loss (`weights`), or are
    drawn as often (`sampler`); probabilities then are those among even classes. Weights do nothing
    for a grade."""

    grade_loss: Literal["mse", "smooth_l1"] = "mse"
    """Loss of `kind: grade`, in standard deviations of the training grades."""

    selection: float = Field(0.15, ge=0, lt=1)
    """Share of the training patients set aside to choose the best epoch by, where the table has no
    `val` part; 0 keeps the last epoch. The held-out part never has a say in it."""

    draws: int = Field(1000, ge=10)
    """Bootstrap draws behind the intervals of the scores."""

    @property
    def medmnist(self) -> bool:
        """Whether the data are a volume set of MedMNIST."""
        return self.data.lower().endswith(".npz")

    def columns(self) -> Columns:
        """Which columns of the table say what."""
        return Columns(
            file=self.file_column,
            labels=self.label_columns,
            patient=self.patient_column,
            mask=self.mask_column,
            centre=self.centre_columns,
            spacing=self.spacing_columns,
            part=self.part_column,
        )

    def shift(self) -> int:
        """Voxels by which boxes are shifted at random."""
        if self.jitter is not None:
            return self.jitter
        return 0 if self.around == "whole" else {"lidc": 5, "light": 2, "none": 0}[self.augment]

    def box(self) -> Box:
        """The box of a scan, with margins to shift it in."""
        return Box(
            around=self.around,
            size=self.size,
            size_mm=self.size_mm,
            spacing=self.spacing,
            margin=self.shift(),
            unit=self.centre_unit,
            orientation=self.orientation,
        )

    @model_validator(mode="after")
    def _agree(self) -> "ClassifySettings":
        if (self.intensity == "window") != (self.window is not None):
            raise ValueError("intensity 'window' and window (lowest, highest HU) go together")
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError(f"window {self.window} needs its lower end first")
        if self.kind == "labels" and len(self.label_columns) < 2 and not self.medmnist:
            raise ValueError("kind 'labels' needs several label_columns; take 'classes' for one")
        if self.kind != "labels" and len(self.label_columns) > 1:
            raise ValueError(f"kind {self.kind!r} has one label column, not {self.label_columns}")
        if self.kind != "classes" and self.medmnist:
            raise ValueError("a volume set of MedMNIST is of kind 'classes'")
        if self.kind == "labels" and self.balance == "sampler":
            raise ValueError("labels cannot be drawn evenly; take balance 'weights' or 'none'")
        if self.around == "mask" and self.mask_column is None and not self.medmnist:
            raise ValueError("around 'mask' needs mask_column")
        if self.around == "centre" and self.centre_columns is None and not self.medmnist:
            raise ValueError("around 'centre' needs centre_columns")
        if self.patience is not None and not self._chooses:
            raise ValueError("patience needs samples to choose by: selection above 0")
        if not self.medmnist:
            try:
                self.box()
            except UsageError as error:
                raise ValueError(str(error)) from None
        return self

    @property
    def _chooses(self) -> bool:
        return self.selection > 0 or self.part_column is not None or self.medmnist
