"""What pretraining on photographs with boxes can be told."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from thirdaxis.nets.natural import is_volumetric
from thirdaxis.tasks.detection.settings import Counts, Ratios, Sides
from thirdaxis.tasks.pretraining.settings import PretrainSettings
from thirdaxis.tasks.settings import split_words


class DetectPretrainSettings(PretrainSettings):
    """Settings of one pretraining on photographs with boxes.

    `data` is a folder in COCO's layout: `annotations/instances_train2017.json` and
    `instances_val2017.json`, the pictures in `train2017/` and `val2017/`; see `annotations` for
    other names. What is not told otherwise is that of SVD-Net.
    """

    task: Literal["pretrain-detect"] = "pretrain-detect"
    """Boxes around the things on photographs."""

    network: str = "resnet3d:18-gn"
    """Backbone by name: `resnet3d:18-gn`, `resnet3d:18-v1c-gn`, `resnet3d:50-gn`, `p3d:63-gn` and
    their like; without `-gn` with batch norms, which learn badly from two pictures a device."""

    annotations: str | None = None
    """JSON of the training pictures' boxes, relative to `data`; none is
    `annotations/instances_train2017.json`."""

    pictures: str | None = None
    """Folder of the training pictures, relative to `data`; none follows the JSON's name,
    `train2017` of `instances_train2017.json`."""

    validation: str | None = None
    """JSON of held-out pictures' boxes, relative to `data`; none is
    `annotations/instances_val2017.json` where `annotations` is not told and it is there, or else
    one of the `folds` of the training pictures."""

    validation_pictures: str | None = None
    """Folder of the held-out pictures, relative to `data`; none follows the JSON's name."""

    faulty: float = Field(0.01, ge=0, lt=1)
    """Share of the JSON's pictures that may be missing, and of its boxes that may lie outside their
    picture, be thinner than a pixel or be no boxes at all: these are left out and counted. More of
    them is an error."""

    scales: Sides = (384, 448, 512, 576, 640)
    """Pixels of the longer side in training, drawn for each picture; its ratio is kept."""

    size: int = Field(512, ge=32)
    """Pixels of the longer side of held-out pictures."""

    flip: bool = True
    """Whether every second training picture is mirrored left to right."""

    to_plane: Literal["group", "centre"] = "group"
    """How three slices become one picture for the feature pyramid: `group`, with weights for the
    slices of each channel, or `centre`, the slice in the middle."""

    width: int = Field(256, ge=1)
    """Channels of the feature pyramid."""

    hidden: int = Field(1024, ge=1)
    """Channels of the two layers that judge a box."""

    anchors: Sides = (32, 64, 128, 256, 512)
    """Sides of the boxes that proposals start from, one for each of five levels, in pixels."""

    ratios: Ratios = (0.5, 1.0, 2.0)
    """Height over width of these."""

    proposals_before: Counts | None = None
    """Proposals of a level before overlapping ones are left out, in training and later; none takes
    2,000 and 1,000."""

    proposals_after: Counts | None = None
    """Proposals after it, in training and later; none takes 2,000 and 1,000."""

    score_threshold: float = Field(0.05, ge=0, lt=1)
    """Detections of a lower score are not told."""

    nms: float = Field(0.5, gt=0, le=1)
    """Overlap (IoU) with a better detection of its class from which another is left out."""

    most: int = Field(100, ge=1, le=100)
    """Detections of a picture at most; of more than 100 the average precision of COCO takes no
    notice."""

    batch: int = Field(2, ge=1)
    """Pictures a step, over all devices together."""

    reference_batch: int | None = Field(16, ge=1)
    """Pictures a step that `learning_rate` is meant for: with `batch` times `accumulate` of them
    the rate is multiplied by their ratio, the linear scaling rule. None takes the rate as it is."""

    epochs: int = Field(72, ge=1)
    """Number of epochs."""

    learning_rate: float = Field(0.02, gt=0)
    """The highest learning rate, before `reference_batch`."""

    schedule: Literal["poly", "cosine", "step", "constant"] = "step"
    """`poly` (power 0.9), `cosine`, `step` (with `milestones`) or `constant`, over all steps."""

    milestones: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(split_words)
    ] = (48 / 72, 66 / 72)
    """Where `step` multiplies the learning rate by `gamma`: shares of the run (below 1), or epochs
    (from 1). The default is 48 and 66 of 72 epochs."""

    warmup: float = Field(500, ge=0)
    """First steps, in which the learning rate rises: their share of the run (below 1), or their
    number (from 1)."""

    warmup_from: float | None = Field(0.333, gt=0, lt=1)
    """Share of the learning rate that the first step has; none rises from zero."""

    clip: float | None = Field(35.0, gt=0)
    """Largest gradient norm; none does not clip."""

    @model_validator(mode="after")
    def _agree(self) -> "DetectPretrainSettings":
        if not is_volumetric(self.network):
            raise ValueError(
                f"network {self.network!r} is none published in 3D; take resnet3d:18-gn, "
                "p3d:63-gn or the like"
            )
        if self.transform != "variable_dimension" or self.depth_stride:
            raise ValueError(
                "boxes are learnt in 3D with all three slices: leave out transform and depth_stride"
            )
        if self.fusion != "i3d" or self.overrides or self.statistics:
            raise ValueError(
                f"{self.network} is a 3D network as it is: leave out fusion, overrides and "
                "statistics"
            )
        if self.validation is None and self.validation_pictures is not None:
            raise ValueError("validation_pictures goes with validation, the JSON of their boxes")
        if min(self.scales) < 32:
            raise ValueError(f"scales are at least 32 pixels, got {min(self.scales)}")
        return self
