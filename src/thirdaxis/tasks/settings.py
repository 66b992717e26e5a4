"""What every kind of run can be told: one frozen model of plain values."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from thirdaxis.nets.natural import natural_settings


def split_words(value: Any) -> Any:
    """Lets `32,48,32` and `32x48x32` from a command line stand for a list."""
    if isinstance(value, str) and any(mark in value for mark in ",x×"):
        return [part for part in value.replace("×", ",").replace("x", ",").split(",") if part]
    return value


def split_names(value: Any) -> Any:
    """Lets `stem,layer1` from a command line stand for a list."""
    return [name for name in value.split(",") if name] if isinstance(value, str) else value


Voxels = Annotated[int, Field(ge=1)]
Length = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Size = Annotated[tuple[Voxels, Voxels, Voxels], BeforeValidator(split_words)]
LengthOrOwn = Annotated[
    Length | None, BeforeValidator(lambda told: None if told in ("own", "none") else told)
]
Spacing = Annotated[tuple[LengthOrOwn, LengthOrOwn, LengthOrOwn], BeforeValidator(split_words)]
Millimetres = Annotated[tuple[Length, Length, Length], BeforeValidator(split_words)]
When = Literal["plateau"] | Annotated[float, Field(gt=0)] | None
HounsfieldWindow = Annotated[tuple[float, float], BeforeValidator(split_words)]


class About(BaseModel):
    """What a recipe reruns, and what it needs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    paper: str | None = None
    """The publication."""

    table: str | None = None
    """Which of its tables."""

    row: str | None = None
    """Which row of it."""

    published: dict[str, float] = {}
    """What the publication prints for this row: measure -> number."""

    data: str | None = None
    """Which data it needs."""

    source: str | None = None
    """Where they come from, an address."""

    layout: str | None = None
    """How they must lie on disk."""

    notes: str | None = None
    """Where the recipe departs from the publication, or settles what it leaves open."""


class RunSettings(BaseModel):
    """Settings of any run; every value is plain, so that a checkpoint can hold them.

    Sizes and spacings are in array order (depth, height, width).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    task: str
    """What is learnt; decides which other settings there are."""

    about: About | None = None
    """What a recipe reruns and what data it needs; told when they are absent."""

    data: str
    """Folder or file of the data set; the task says in which layouts."""

    network: str = "unet"
    """2D network by name: `unet`, `torchvision:NAME`, `timm:NAME`, `smp:ARCH/ENCODER` or
    `package.module:factory`; `resnet3d:18` and its like are networks published in 3D."""

    weights: str | None = None
    """None (random start), `library` (the network library's own pretrained weights), a
    `.safetensors` or `.pth` file of 2D or 3D kernels, or the folder of a run, whose best network
    is taken whole."""

    start: Literal["kaiming", "xavier"] | None = None
    """How 3D kernels are drawn where no 2D weights are given; none repeats 2D ones along depth, but
    draws those of networks published in 3D as `kaiming`."""

    zero_last_norm: bool = False
    """Whether residual blocks start as the identity, with `start`."""

    freeze: Annotated[tuple[str, ...], BeforeValidator(split_names)] = ()
    """Name patterns of modules that are not trained, such as `*layer1`; their norms keep their
    statistics."""

    unlock_at: When = None
    """When the modules of `freeze` are trained after all: after that share of the epochs (below 1)
    or that many (from 1), or on a `plateau` of the training loss; none keeps them as they are."""

    plateau: int = Field(10, ge=1)
    """Epochs without a lower training loss that are a plateau."""

    fusion: str = "acs"
    """How a 2D convolution looks along depth, by name: see `thirdaxis.FUSIONS`. Networks published
    in 3D, such as `resnet3d:18`, take `i3d` unless told, and `ahnet:` takes `slicewise`."""

    depth_stride: bool | None = None
    """Whether depth is reduced wherever height and width are; none reduces it, but keeps it in
    networks of attention or token mixing."""

    statistics: Literal["volume", "slice"] | None = None
    """Whether global pooling and group and instance norms take in the whole `volume` or each
    `slice`; none follows the fusion."""

    stem: Literal["sum", "mean", "green", "depth"] = "sum"
    """How an RGB stem is adapted to the data's channels: `sum`, `mean`, `green`, `depth`; unless
    told, `ahnet:` takes `depth`."""

    overrides: dict[str, str | dict[str, Any]] = {}
    """Module name pattern -> fusion name, or a table of `fusion` and `depth_stride`."""

    cache: str | None = None
    """Folder for prepared volumes, memory-mapped; none keeps them in memory."""

    folds: int = Field(5, ge=2)
    """Number of patient-level folds."""

    fold: int = Field(0, ge=0)
    """Which fold is held out for validation."""

    fraction: float = Field(1.0, gt=0, le=1)
    """Share of the training patients used; smaller shares are part of larger ones."""

    batch: int = Field(2, ge=1)
    """Samples a step, over all devices together."""

    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are added up before each step."""

    epochs: int = Field(50, ge=1)
    """Number of epochs."""

    epoch_steps: int | None = Field(None, ge=1)
    """Steps an epoch; none visits each training volume `patches_per_volume` times."""

    learning_rate: float = Field(3e-3, gt=0)
    """The highest learning rate."""

    reference_batch: int | None = Field(None, ge=1)
    """Samples a step that `learning_rate` is meant for: with `batch` times `accumulate` of them the
    rate is multiplied by their ratio, the linear scaling rule. None takes the rate as it is."""

    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    """`adamw` (weight decay apart from the gradient), `adam` or `sgd`."""

    momentum: float = Field(0.9, ge=0, lt=1)
    """Of `sgd`."""

    nesterov: bool = True
    """Whether the momentum of `sgd` looks ahead."""

    weight_decay: float = Field(1e-4, ge=0)
    """Of the optimiser."""

    schedule: Literal["poly", "cosine", "step", "constant"] = "poly"
    """`poly` (power 0.9), `cosine`, `step` (with `milestones`) or `constant`, over all steps."""

    lowest_rate: float = Field(0.0, ge=0)
    """The learning rate that `poly` and `cosine` end on."""

    milestones: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(split_words)
    ] = ()
    """Where `step` multiplies the learning rate by `gamma`: shares of the run (below 1), or epochs
    (from 1)."""

    gamma: float = Field(0.1, gt=0, lt=1)
    """See `milestones`."""

    warmup: float = Field(0.02, ge=0)
    """First steps, in which the learning rate rises: their share of the run (below 1), or their
    number (from 1)."""

    warmup_from: float | None = Field(None, gt=0, lt=1)
    """Share of the learning rate that the first step has; none rises from zero."""

    clip: float | None = Field(5.0, gt=0)
    """Largest gradient norm; none does not clip."""

    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of a moving average of the weights, such as 0.999, which is then what is validated and
    kept; none keeps the weights themselves."""

    patience: int | None = Field(None, ge=1)
    """Validations without a better score after which training stops; none trains all epochs."""

    validate_every: int = Field(1, ge=1)
    """Epochs between validations on the held-out cases."""

    seed: int = Field(0, ge=0, lt=2**32)
    """Of the split, the start and every random choice."""

    deterministic: bool = False
    """Whether torch may use deterministic algorithms only; on graphics cards slower, and an error
    where an operation has none."""

    devices: int = Field(1, ge=1)
    """Number of devices of a machine (graphics cards, or processes on a CPU)."""

    nodes: int = Field(1, ge=1)
    """Number of machines, started by `torchrun`."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto`, `cpu` or `gpu`."""

    sync_norms: bool = False
    """Whether batch norms share their statistics over graphics cards."""

    precision: Literal["auto", "32", "16-mixed", "bf16-mixed"] = "auto"
    """`auto` is bf16 mixed precision on graphics cards that have it, otherwise 32 bits."""

    channels_last: bool = False
    """Whether volumes lie in memory with their channels together: the same numbers, in other times.
    On a CPU a step of MobileNetV2 takes half to four fifths as long, one of SqueezeNet a third
    longer."""

    workers: int = Field(0, ge=0)
    """Processes that prepare batches; 0 prepares them in the training process."""

    @model_validator(mode="before")
    @classmethod
    def _with_natural_settings(cls, told: Any) -> Any:
        if isinstance(told, dict):
            name = told.get("network", cls.model_fields["network"].default)
            return {**natural_settings(name), **told} if isinstance(name, str) else told
        return told

    @model_validator(mode="after")
    def _shared_agree(self) -> "RunSettings":
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist with {self.folds} folds")
        if self.batch % (self.devices * self.nodes):
            raise ValueError(
                f"batch {self.batch} cannot be shared by {self.devices * self.nodes} devices"
            )
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("schedule 'step' and milestones go together")
        if self.unlock_at is not None and not self.freeze:
            raise ValueError("unlock_at names no modules: name them by freeze, such as encoder")
        if self.zero_last_norm and not self.start:
            raise ValueError("zero_last_norm goes with a start, kaiming or xavier")
        if self.lowest_rate > self.rate:
            raise ValueError(
                f"lowest_rate {self.lowest_rate} is above the learning rate {self.rate}"
            )
        return self

    @property
    def rate(self) -> float:
        """The highest learning rate after linear scaling (Goyal et al., 2017)."""
        if self.reference_batch is None:
            return self.learning_rate
        return self.learning_rate * self.batch * self.accumulate / self.reference_batch

    def data_there(self) -> bool:
        """Whether there is something where the data are said to be."""
        return Path(self.data).exists()

    def pinned(self) -> Self:
        """The same with paths that hold wherever the run is resumed from."""
        paths = {"data": self.data, "cache": self.cache}
        if self.weights != "library":
            paths["weights"] = self.weights
        known = {name: str(Path(path).resolve()) for name, path in paths.items() if path}
        return self.model_copy(update=known)

    def plain(self) -> dict[str, Any]:
        """The settings as lists, numbers and words, as a YAML file or a checkpoint holds them."""
        return self.model_dump(mode="json")
