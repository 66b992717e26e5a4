"""What a network is shown of a photograph: crops, flips, grey values, colours as slices."""

from collections.abc import Sequence

import torch
from torchvision.transforms import v2

from thirdaxis.data.variable_dimension import VariableDimension

AUGMENTS = ("resized_crop", "crop", "padded_crop", "none")
RESIZED = 8 / 7  # to 256 pixels, of which 224 are seen


def training_view(
    size: int,
    augment: str,
    *,
    mean: Sequence[float],
    deviation: Sequence[float],
    volume: bool,
    shuffle: bool,
) -> v2.Compose:
    """A random view, drawn with torch's global generator.

    Args:
        size: pixels along each side.
        augment: `resized_crop` (Szegedy et al., 2015), a part of 8 to 100 % of the picture; `crop`,
            a part of the picture whose shorter side is 8/7 of `size`; `padded_crop`, shifts by up
            to an eighth of `size`; all of them flip half of the pictures; or `none`, see
            `steady_view`.
        mean: of three colours, from 0 to 255.
        deviation: of three colours.
        volume: whether colours become slices.
        shuffle: whether they come in a random order.

    Returns:
        Takes (3, H, W) uint8, gives float32 (1, 3, size, size), or (3, size, size).
    """
    if augment == "none":
        geometry = _middle(size, augment)
    else:
        geometry = [*_part(size, augment), v2.RandomHorizontalFlip(0.5)]
    last: list[v2.Transform] = [v2.RandomChannelPermutation()] if shuffle else []
    if volume:
        last = [VariableDimension(shuffle)]
    return v2.Compose([*geometry, *_grey_values(mean, deviation), *last])


def steady_view(
    size: int, augment: str, *, mean: Sequence[float], deviation: Sequence[float], volume: bool
) -> v2.Compose:
    """The middle of a picture, for held-out ones; arguments as of `training_view`.

    The shorter side is resized to 8/7 of `size` where training sees parts of pictures, otherwise
    to `size`.
    """
    last = [VariableDimension()] if volume else []
    return v2.Compose([*_middle(size, augment), *_grey_values(mean, deviation), *last])


def _part(size: int, augment: str) -> list[v2.Transform]:
    if augment == "resized_crop":
        return [v2.RandomResizedCrop(size, antialias=True)]
    if augment == "crop":
        return [v2.Resize(round(size * RESIZED), antialias=True), v2.RandomCrop(size)]
    return [v2.Resize((size, size), antialias=True), v2.RandomCrop(size, padding=size // 8)]


def _middle(size: int, augment: str) -> list[v2.Transform]:
    whole = augment in ("padded_crop", "none")
    side = size if whole else round(size * RESIZED)
    return [v2.Resize(side, antialias=True), v2.CenterCrop(size)]


def _grey_values(mean: Sequence[float], deviation: Sequence[float]) -> list[v2.Transform]:
    return [v2.ToDtype(torch.float32, scale=False), v2.Normalize(list(mean), list(deviation))]
