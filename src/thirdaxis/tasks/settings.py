"""What a segmentation run can be told: one frozen model, from a file and `name=value` words."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from thirdaxis.errors import InputError, UsageError, did_you_mean


def _split_words(value: Any) -> Any:
    """Lets `32,48,32` and `32x48x32` from a command line stand for a list."""
    if isinstance(value, str) and any(mark in value for mark in ",x×"):
        return [part for part in value.replace("×", ",").replace("x", ",").split(",") if part]
    return value


Size = Annotated[
    tuple[
        Annotated[int, Field(ge=1)],
        Annotated[int, Field(ge=1)],
        Annotated[int, Field(ge=1)],
    ],
    BeforeValidator(_split_words),
]
Millimetres = Annotated[
    tuple[
        Annotated[float, Field(gt=0)],
        Annotated[float, Field(gt=0)],
        Annotated[float, Field(gt=0)],
    ],
    BeforeValidator(_split_words),
]
HounsfieldWindow = Annotated[tuple[float, float], BeforeValidator(_split_words)]


class SegmentSettings(BaseModel):
    """Settings of one segmentation run; every value is plain, so that a checkpoint can hold them.

    Sizes and spacings are in array order (depth, height, width).

    Attributes:
        data: folder in Medical Segmentation Decathlon or nnU-Net v2 layout.
        network: 2D network by name: `unet`, `torchvision:NAME`, `timm:NAME`, `smp:ARCH/ENCODER`
            or `package.module:factory`.
        weights: none (random start), `library` (the network library's own pretrained weights), or a
            `.safetensors` or `.pth` file.
        fusion: how a 2D convolution looks along depth, by name: see `thirdaxis.FUSIONS`.
        depth_stride: whether depth is reduced wherever height and width are; none reduces it, but
            keeps it in networks of attention or token mixing.
        statistics: whether global pooling and group and instance norms take in the whole `volume`
            or each `slice`; none follows the fusion.
        stem: how an RGB stem is adapted to the data's channels: `sum`, `mean`, `green`, `depth`.
        overrides: module name pattern -> fusion name, or a table of `fusion` and `depth_stride`.
        orientation: axis code of the arrays the network sees; `SPL` puts axial slices along depth.
        spacing: voxel spacing in mm the network sees; none keeps each scan's own, `median` takes
            the median of the training scans.
        intensity: `zscore` and `percentiles` per volume, or `window` (CT) with `window` in HU.
        window: lowest and highest HU of `intensity: window`.
        cache: folder for prepared volumes, memory-mapped; none keeps them in memory.
        patch: size of training patches and inference windows in voxels; none takes the median
            size of the training scans, rounded up to multiples of 8, at most 48×128×128.
        patches_per_volume: patches an epoch takes from each training volume.
        foreground: share of the patches that are centred on foreground.
        augment: random left-right flips, small rotations and scalings, intensity changes.
        batch: patches a step, over all devices together.
        epochs: number of epochs.
        epoch_steps: steps an epoch; none visits each training volume `patches_per_volume` times.
        learning_rate: the highest learning rate.
        optimiser: `adamw` or `sgd` (Nesterov, momentum 0.9).
        weight_decay: of the optimiser.
        schedule: `poly` (power 0.9), `cosine` or `constant`, over all steps.
        warmup: share of the steps in which the learning rate rises from zero.
        clip: largest gradient norm; none does not clip.
        loss: `dice_ce` or `dice_focal`.
        patient: regular expression whose match in a case name is the patient, such as `^[^_]+`;
            none takes each case as a patient of its own.
        folds: number of patient-level folds.
        fold: which fold is held out for validation.
        fraction: share of the training volumes used; smaller shares are part of larger ones.
        seed: of the split, the start and every random choice.
        validate_every: epochs between validations on the held-out volumes.
        overlap: of neighbouring windows in sliding-window inference.
        devices: number of devices (graphics cards, or processes on a CPU).
        accelerator: `auto`, `cpu` or `gpu`.
        precision: `auto` is bf16 mixed precision on graphics cards that have it, otherwise 32 bits.
        workers: processes that cut patches; 0 cuts them in the training process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    network: str = "unet"
    weights: str | None = None
    fusion: str = "acs"
    depth_stride: bool | None = None
    statistics: Literal["volume", "slice"] | None = None
    stem: Literal["sum", "mean", "green", "depth"] = "sum"
    overrides: dict[str, str | dict[str, Any]] = {}
    orientation: str = Field("SPL", pattern="^[RLAPSI]{3}$")
    spacing: Literal["median"] | Millimetres | None = None
    intensity: Literal["zscore", "percentiles", "window"] = "zscore"
    window: HounsfieldWindow | None = None
    cache: str | None = None
    patch: Size | None = None
    patches_per_volume: int = Field(2, ge=1)
    foreground: float = Field(0.67, gt=0, lt=1)
    augment: bool = True
    batch: int = Field(2, ge=1)
    epochs: int = Field(50, ge=1)
    epoch_steps: int | None = Field(None, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0)
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    warmup: float = Field(0.02, ge=0, lt=1)
    clip: float | None = Field(5.0, gt=0)
    loss: Literal["dice_ce", "dice_focal"] = "dice_ce"
    patient: str | None = None
    folds: int = Field(5, ge=2)
    fold: int = Field(0, ge=0)
    fraction: float = Field(1.0, gt=0, le=1)
    seed: int = Field(0, ge=0, lt=2**32)
    validate_every: int = Field(1, ge=1)
    overlap: float = Field(0.5, ge=0, lt=1)
    devices: int = Field(1, ge=1)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["auto", "32", "16-mixed", "bf16-mixed"] = "auto"
    workers: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _agree(self) -> "SegmentSettings":
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist with {self.folds} folds")
        if (self.intensity == "window") != (self.window is not None):
            raise ValueError("intensity 'window' and window (lowest, highest HU) go together")
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError(f"window {self.window} needs its lower end first")
        if self.batch % self.devices:
            raise ValueError(f"batch {self.batch} cannot be shared by {self.devices} devices")
        if self.patient is not None:
            try:
                re.compile(self.patient)
            except re.error as error:
                raise ValueError(f"patient {self.patient!r} is no regular expression") from error
        return self

    def plain(self) -> dict[str, Any]:
        """The settings as lists, numbers and words, as a YAML file or a checkpoint holds them."""
        return self.model_dump(mode="json")


def make_settings(values: Mapping[str, Any], origin: str) -> SegmentSettings:
    """Checks values and fills in the defaults.

    Args:
        values: setting name -> value.
        origin: where the values came from, for the error message.

    Returns:
        The settings.

    Raises:
        UsageError: an unknown name (with the nearest known one) or an impossible value.
    """
    for name in values:
        if name not in SegmentSettings.model_fields:
            near = did_you_mean(str(name), SegmentSettings.model_fields)
            raise UsageError(f"{origin}: unknown setting {str(name)!r}{near}")
    try:
        return SegmentSettings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        reason = first["msg"].removeprefix("Value error, ")
        told = f"setting {name!r}: {reason} (got {values.get(name)!r})" if name else reason
        raise UsageError(f"{origin}: {told}") from None


def read_settings_file(path: Path) -> dict[str, Any]:
    """Reads setting names and values from a YAML, TOML or JSON file.

    Args:
        path: a file ending in `.yaml`, `.yml`, `.toml` or `.json`.

    Returns:
        Setting name -> value, unchecked.

    Raises:
        InputError: no such file, or not readable as what its name says.
        UsageError: another ending.
    """
    readers: dict[str, Callable[[str], Any]] = {
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
        ".toml": tomllib.loads,
        ".json": json.loads,
    }
    if path.suffix not in readers:
        raise UsageError(f"{path}: a settings file ends in .yaml, .yml, .toml or .json")
    try:
        values = readers[path.suffix](path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such settings file") from None
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a valid {path.suffix[1:]} file: {reason}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a table of settings, got {type(values).__name__}")
    return values


def read_assignments(words: Sequence[str]) -> dict[str, Any]:
    """Reads `name=value` words; a value is read as YAML reads it.

    Args:
        words: such as `("epochs=10", "patch=32,48,32")`.

    Returns:
        Setting name -> value, unchecked.

    Raises:
        UsageError: a word without `=`, or a value that is not YAML.
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"setting {word!r}: expected NAME=VALUE, such as epochs=10")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"setting {word!r}: the value is not valid YAML") from None
    return values
