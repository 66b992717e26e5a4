"""What any pretraining on photographs can be told."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from thirdaxis.tasks.settings import RunSettings, split_words


def _numbers(value: Any) -> Any:
    """Lets one number stand for a list of one."""
    return (value,) if isinstance(value, int | float) else split_words(value)


Numbers = Annotated[tuple[float, ...], BeforeValidator(_numbers)]
GREY_MEAN, GREY_DEVIATION = 114.495, 57.63


class PretrainSettings(RunSettings):
    """Settings of any pretraining on photographs; a task adds its own."""

    network: str = "resnet3d:18"
    """Network by name: `resnet3d:18`, `resnet3d:18-v1c`, `p3d:63` and their like, published in 3D,
    or a 2D network as `torchvision:NAME` or `timm:NAME`, converted by `fusion`."""

    fusion: str = "i3d"
    """How a 2D convolution looks along depth, by name: see `thirdaxis.FUSIONS`. Networks published
    in 3D, such as `resnet3d:18`, take `i3d` unless told, others `acs`; with `transform: none`
    nothing is converted, and it is `slicewise`."""

    depth_stride: bool | None = False
    """Whether depth is reduced wherever height and width are. Photographs have three slices, all of
    which are kept unless told; to train SVD-Net's networks without its modification, tell `true`.
    """

    transform: Literal["variable_dimension", "none"] = "variable_dimension"
    """`variable_dimension`: the colours of a photograph become three slices of one channel, for a
    network in 3D (Zhang et al., SVD-Net, 2022); `none`: a picture of three channels, for the 2D
    network as it is, without conversion."""

    shuffle_channels: bool = False
    """Whether the colours come in a random order in training."""

    mean: Numbers = (GREY_MEAN,)
    """Of grey values from 0 to 255: for all colours, or for each. It is taken off, and the rest is
    divided by `deviation`."""

    deviation: Numbers = (GREY_DEVIATION,)
    """See `mean`."""

    damaged: float = Field(0.001, ge=0, lt=1)
    """Share of the pictures that may turn out unreadable: these are left out and counted. One more
    stops the run, naming it."""

    data_name: str | None = None
    """What the model card calls the data; none takes the name of their folder or file."""

    data_licence: str | None = None
    """Terms under which the pictures may be used, for the model card."""

    licence: str | None = None
    """Licence that you give the weights, as the Hugging Face Hub names licences, for the card."""

    cache: str | None = None
    """Not for pretraining, which reads its pictures as they lie."""

    batch: int = Field(256, ge=1)
    """Pictures a step, over all devices together."""

    epochs: int = Field(100, ge=1)
    """Number of epochs."""

    epoch_steps: int | None = Field(None, ge=1)
    """Steps an epoch; none visits each picture once."""

    learning_rate: float = Field(0.1, gt=0)
    """The highest learning rate."""

    reference_batch: int | None = Field(256, ge=1)
    """Pictures a step that `learning_rate` is meant for: with `batch` times `accumulate` of them
    the rate is multiplied by their ratio, the linear scaling rule. None takes the rate as it is."""

    optimiser: Literal["adamw", "adam", "sgd"] = "sgd"
    """`adamw` (weight decay apart from the gradient), `adam` or `sgd`."""

    nesterov: bool = False
    """Whether the momentum of `sgd` looks ahead."""

    schedule: Literal["poly", "cosine", "step", "constant"] = "cosine"
    """`poly` (power 0.9), `cosine`, `step` (with `milestones`) or `constant`, over all steps."""

    clip: float | None = Field(None, gt=0)
    """Largest gradient norm; none does not clip."""

    @property
    def named_data(self) -> str:
        """What the data are called."""
        return self.data_name or Path(self.data).name

    @property
    def in_3d(self) -> bool:
        """Whether the network sees volumes."""
        return self.transform == "variable_dimension"

    def damaged_of(self, pictures: int) -> int:
        """How many of so many pictures may turn out unreadable."""
        return math.ceil(self.damaged * pictures)

    def normalisation(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of the three colours."""
        mean, deviation = (list(told) * (3 // len(told)) for told in (self.mean, self.deviation))
        return mean, deviation

    @model_validator(mode="before")
    @classmethod
    def _flat_is_slicewise(cls, told: Any) -> Any:
        if isinstance(told, dict) and told.get("transform") == "none":
            return {"fusion": "slicewise", **told}
        return told

    @model_validator(mode="after")
    def _pictures_agree(self) -> Self:
        for name in ("mean", "deviation"):
            if len(getattr(self, name)) not in (1, 3):
                raise ValueError(f"{name} is one number, or one for each of three colours")
        if min(self.deviation) <= 0:
            raise ValueError("deviation is above 0")
        if not self.in_3d and self.fusion != "slicewise":
            raise ValueError(f"transform 'none' converts nothing: leave fusion {self.fusion!r} out")
        if self.cache is not None:
            raise ValueError("cache has no use here: pictures are read as they lie; leave it out")
        return self
