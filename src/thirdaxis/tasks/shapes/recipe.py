"""What a recipe of a published experiment says: one frozen model, from a TOML file."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.base import Fusion
from thirdaxis.nets.saved import fusion_of


def slug(name: str) -> str:
    """`ACS p.` as `acs-p`."""
    return "-".join(name.lower().rstrip(".").split())


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Part):
    """How many shapes there are, and which.

    Attributes:
        seed: of every image and volume.
        images: 2D images to pretrain on.
        test_images: 2D images to test on.
        volumes: 3D volumes to train on.
        test_volumes: 3D volumes to test on.
    """

    seed: int = Field(0, ge=0)
    images: int = Field(ge=1)
    test_images: int = Field(ge=1)
    volumes: int = Field(ge=1)
    test_volumes: int = Field(ge=1)


class Schedule(_Part):
    """How a network is trained.

    Attributes:
        optimiser: `sgd` or `adam`.
        learning_rate: at the start.
        momentum: of `sgd`.
        weight_decay: of either.
        milestones: epochs after which the learning rate falls to a tenth.
        batch: images or volumes a step.
        test_batch: images or volumes over which a test score is taken, to be averaged.
        epochs: passes over the data.
    """

    optimiser: Literal["sgd", "adam"]
    learning_rate: float = Field(gt=0)
    momentum: float = Field(0, ge=0, lt=1)
    weight_decay: float = Field(0, ge=0)
    milestones: tuple[int, ...] = ()
    batch: int = Field(ge=1)
    test_batch: int = Field(ge=1)
    epochs: int = Field(ge=1)


class Published(_Part):
    """What the paper prints for a row, in percent."""

    mauc: float
    dice: float
    miou: float


class Row(_Part):
    """One network of the table.

    Attributes:
        name: in the table.
        fusion: operator by name, see `thirdaxis.FUSIONS`.
        settings: of the operator, where not the default ones.
        start: `pretrained` in 2D, PyTorch's `default` random start, or `kaiming` for every
            convolution.
        published: the paper's numbers; none where it has no such row.
    """

    name: str = Field(min_length=1)
    fusion: str
    settings: dict[str, Any] = {}
    start: Literal["pretrained", "default", "kaiming"]
    published: Published | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Row":
        self.operator()
        return self

    def operator(self) -> Fusion:
        """The settings object of the operator.

        Raises:
            UsageError: there is no such operator, or it has no such settings.
        """
        return fusion_of({"name": self.fusion, "settings": self.settings})

    @property
    def slug(self) -> str:
        """The name as a folder."""
        return slug(self.name)


class Recipe(_Part):
    """A published experiment, and how to run it.

    Attributes:
        experiment: the kind: `shapes` is the proof of concept of the ACS paper.
        data: what to learn from.
        pretraining: in 2D.
        training: in 3D.
        rows: networks to compare, in the order of the table.
    """

    experiment: Literal["shapes"]
    data: Data
    pretraining: Schedule
    training: Schedule
    rows: tuple[Row, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rows_apart(self) -> "Recipe":
        slugs = [row.slug for row in self.rows]
        for row in self.rows:
            if slugs.count(row.slug) > 1:
                raise ValueError(f"two rows are named {row.name!r}")
        return self

    def chosen(self, names: list[str] | None) -> list[Row]:
        """The rows of these names, in their order; all rows where none are named.

        Raises:
            UsageError: no row has such a name.
        """
        if names is None:
            return list(self.rows)
        known = {row.slug: row for row in self.rows}
        for name in names:
            if slug(name) not in known:
                names = [row.name.lower() for row in self.rows]
                raise UsageError(f"unknown row {name!r}{did_you_mean(name, names)}")
        return [known[slug(name)] for name in names]


def read_recipe(path: Path) -> Recipe:
    """Reads a recipe.

    Args:
        path: a TOML file; its ending may be left out.

    Raises:
        UsageError: no such file, not TOML, or something in it makes no sense.
    """
    file = path if path.suffix == ".toml" else path.with_name(f"{path.name}.toml")
    try:
        return Recipe(**tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(f"{file}: no such recipe") from None
    except ValidationError as error:
        raise UsageError(f"{file}: {_first(error)}") from None
    except ValueError as error:
        raise UsageError(f"{file}: not a valid TOML file: {error}") from None


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    reason = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {reason}" if place else reason
