"""What pretraining on pictures with a class each can be told."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from thirdaxis.data.photographs.shards import is_shards
from thirdaxis.tasks.pretraining.settings import PretrainSettings


class ClassifyPretrainSettings(PretrainSettings):
    """Settings of one pretraining by classification.

    `data` is a folder with a folder of pictures for each class, alone or in `train/` beside `val/`;
    or shards in WebDataset's form, as `train-{000..146}.tar`, whose samples are a picture and a
    number of its class (`.jpg` and `.cls`).
    """

    task: Literal["pretrain-classify"] = "pretrain-classify"
    """One class for each photograph."""

    validation: str | None = None
    """Held-out pictures, a folder or shards; none takes `val/` beside `train/`, or else holds out
    the `fold` of `folds` of each class."""

    classes: int | None = Field(None, ge=2)
    """How many classes there have to be; none takes as many as there are."""

    folds: int = Field(10, ge=2)
    """Parts of each class, one of which is held out where there are no held-out pictures."""

    fold: int = Field(0, ge=0)
    """Which part is held out then."""

    fraction: float = Field(1.0, gt=0, le=1)
    """Share of each class's training pictures used; smaller shares are part of larger ones."""

    size: int = Field(224, ge=8)
    """Pixels along each side of what the network sees."""

    augment: Literal["resized_crop", "crop", "padded_crop", "none"] = "resized_crop"
    """`resized_crop`: a random part of random size and aspect, as SVD-Net's code; `crop`: a random
    part of the picture resized to 8/7 of `size`, as its paper; `padded_crop`: shifts by up to an
    eighth, for small pictures; `none`. All but `none` flip half of them left to right."""

    shuffle_channels: bool = True
    """Whether the colours come in a random order in training, as in SVD-Net's code, though not in
    its paper."""

    smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of each label that is spread over all classes (Szegedy et al., 2016)."""

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of what the network sees: (1, 3, H, W), or (3, H, W) in 2D."""
        return (1, 3, self.size, self.size) if self.in_3d else (3, self.size, self.size)

    def data_there(self) -> bool:
        """Whether there is something where the data are said to be; shards are looked for later."""
        return is_shards(self.data) or super().data_there()

    def pinned(self) -> Self:
        """The same with paths that hold wherever the run is resumed from."""
        held = None if self.validation is None else str(Path(self.validation).resolve())
        return super().pinned().model_copy(update={"validation": held})
