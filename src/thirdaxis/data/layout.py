"""What `dataset.json` may say, in its two forms."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _relative(path: object) -> object:
    if isinstance(path, str) and (path.startswith("/") or ".." in path.split("/")):
        raise ValueError(f"{path!r} leaves the folder")
    return path


def _check_labels(names: dict[int, str]) -> None:
    if sorted(names) != list(range(len(names))) or len(names) < 2:
        raise ValueError(
            f"label values are 0 (background), 1, 2, ... without gaps, not {sorted(names)}"
        )
    if len(set(names.values())) != len(names):
        raise ValueError(f"each label has its own name, not {list(names.values())}")


RelativePath = Annotated[str, BeforeValidator(_relative)]


class Pair(BaseModel):
    """One training scan of the Decathlon form, paths relative to the folder."""

    image: RelativePath
    label: RelativePath


class Decathlon(BaseModel):
    """The Medical Segmentation Decathlon's form, fields that are used."""

    labels: dict[int, str]
    training: list[Pair]
    modality: dict[int, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _labels_have_no_gaps(self) -> "Decathlon":
        _check_labels(self.labels)
        return self

    def label_names(self) -> dict[int, str]:
        """Label value to name, sorted by value."""
        return dict(sorted(self.labels.items()))

    def channel_table(self) -> dict[int, str]:
        """Channel number to name, sorted by number."""
        return dict(sorted(self.modality.items()))


class NnUNet(BaseModel):
    """The nnU-Net v2 form, fields that are used."""

    model_config = ConfigDict(str_strip_whitespace=True)

    labels: dict[str, int]
    channel_names: dict[int, str] = Field(min_length=1)
    file_ending: Literal[".nii.gz", ".nii", ".mha", ".nrrd"]

    @model_validator(mode="after")
    def _labels_have_no_gaps(self) -> "NnUNet":
        if "ignore" in self.labels:
            raise ValueError("an 'ignore' label is not supported; give those voxels a class")
        _check_labels(self.label_names())
        if len(self.label_names()) != len(self.labels):
            raise ValueError(f"two labels share a value: {self.labels}")
        return self

    def label_names(self) -> dict[int, str]:
        """Label value to name, sorted by value."""
        return {value: name for name, value in sorted(self.labels.items(), key=lambda kv: kv[1])}

    def channel_table(self) -> dict[int, str]:
        """Channel number to name, sorted by number."""
        return dict(sorted(self.channel_names.items()))
