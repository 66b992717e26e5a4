"""Changes of key slices, boxes and outlines together, each a function of a seed."""

from typing import Any

import numpy as np
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes, Mask

AFFINE = {"share": 0.8, "shift": 0.04, "scale": 0.2, "turn": 15.0}
# What an affine change of these sizes can bring in from outside, in sides of the image.
MARGIN = 0.35
SMALLEST = 2.0


def changed(
    image: Tensor, boxes: BoundingBoxes, masks: Mask, kind: str, seed: int
) -> tuple[Tensor, BoundingBoxes, Mask]:
    """Changes a key slice and its neighbours alike, and what is marked on it.

    Shifts, scales and turns are those of the published training code of AlignShift (Yang et al.,
    MICCAI 2020), which resamples by cubic splines; here it is linearly, as torchvision does it.
    Beyond the border the image is mirrored, as there.

    Args:
        image: (D, H, W).
        boxes: (L, 4), as the sides of pixels have it, not their middles.
        masks: (L, H, W).
        kind: see `DetectSettings.augment`.
        seed: of every choice.

    Returns:
        The same, without lesions that went out of the image.
    """
    random = np.random.default_rng(seed)
    if kind == "deeplesion" and random.random() < AFFINE["share"]:
        image, boxes, masks = _affine(image, boxes, masks, random)
    everything: tuple[Any, ...] = (image, boxes, masks)
    if kind != "none" and random.random() < 0.5:
        everything = tuple(F.horizontal_flip(one) for one in everything)
    if kind == "flips" and random.random() < 0.5:
        everything = tuple(F.vertical_flip(one) for one in everything)
    image, boxes, masks = everything
    if kind == "reversal" and random.random() < 0.5:
        image = image.flip(0)
    return image, boxes, masks


def _affine(
    image: Tensor, boxes: BoundingBoxes, masks: Mask, random: np.random.Generator
) -> tuple[Tensor, BoundingBoxes, Mask]:
    height, width = image.shape[-2:]
    shift, scale, turn = AFFINE["shift"], AFFINE["scale"], AFFINE["turn"]
    told: dict[str, Any] = {
        "translate": [float(random.uniform(-shift, shift)) * side for side in (width, height)],
        "scale": float(random.uniform(1 - scale, 1 + scale)),
        "angle": float(random.uniform(-turn, turn)),
        "shear": [0.0, 0.0],
    }
    margin = int(MARGIN * min(height, width))
    wide = F.pad(image, [margin] * 4, padding_mode="reflect")
    moved = F.affine(wide, interpolation=InterpolationMode.BILINEAR, **told)
    image = F.center_crop(moved, [height, width])
    boxes, masks = F.affine(boxes, **told), F.affine(masks, **told)
    boxes, kept = F.sanitize_bounding_boxes(F.clamp_bounding_boxes(boxes), min_size=SMALLEST)
    return image, boxes, Mask(masks[kept])


def to_sides(boxes: Tensor, size: tuple[int, int]) -> BoundingBoxes:
    """Boxes from the first to the last pixel (middles, as they are annotated) as their sides."""
    return BoundingBoxes(
        boxes + boxes.new_tensor([0.0, 0.0, 1.0, 1.0]),
        format="XYXY",
        canvas_size=size,
    )


def to_middles(boxes: Tensor) -> Tensor:
    """The way back from `to_sides`."""
    plain = boxes.as_subclass(Tensor)
    return plain - plain.new_tensor([0.0, 0.0, 1.0, 1.0])


def fitted(
    image: Tensor, boxes: BoundingBoxes, masks: Mask, scale: float, side: int, border: float
) -> tuple[Tensor, BoundingBoxes, Mask]:
    """Resizes a slice by a factor and pads it to a square at its right and bottom.

    Args:
        image: (D, H, W).
        boxes: (L, 4), as the sides of pixels have it.
        masks: (L, H, W).
        scale: of both axes.
        side: of the square.
        border: grey value of the padding.
    """
    height, width = (max(1, round(scale * length)) for length in image.shape[-2:])
    if (height, width) != tuple(image.shape[-2:]):
        image, boxes, masks = (F.resize(one, [height, width]) for one in (image, boxes, masks))
    beyond = [0, 0, side - width, side - height]
    if any(beyond):
        image = F.pad(image, beyond, fill=border)
        boxes, masks = F.pad(boxes, beyond), F.pad(masks, beyond)
    return image, boxes, masks
