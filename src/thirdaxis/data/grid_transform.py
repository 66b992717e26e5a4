"""The change of grid as a transform of MONAI, for configurations that MONAI runs."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform

from thirdaxis.data.grid import onto, to_grid
from thirdaxis.data.volume import Volume


class ToGridd(MapTransform, InvertibleTransform):
    """Turns and resamples images as `to_grid` does, and back as `onto` does, bilinearly.

    MONAI's own `Spacingd` lays its grid off by up to half a voxel.

    Args:
        keys: of the images, each a `MetaTensor` (C, D, H, W).
        orientation: axis code of the arrays, such as `SPL`.
        spacing: (d, h, w) in mm.
    """

    def __init__(self, keys: KeysCollection, orientation: str, spacing: Sequence[float]) -> None:
        super().__init__(keys)
        self.orientation = orientation
        self.spacing = tuple(spacing)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same data with the images on the new grid."""
        moved = dict(data)
        for key in self.key_iterator(moved):
            image = moved[key]
            volume = _volume(image)
            found = to_grid(volume, self.orientation, self.spacing, mode="bilinear")
            moved[key] = _as_image(found, image)
            before: dict[str, Any] = {"shape": volume.shape, "affine": volume.affine.tolist()}
            self.push_transform(moved[key], extra_info=before)
        return moved

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same data with the images on the grid they came from."""
        moved = dict(data)
        for key in self.key_iterator(moved):
            image = moved[key]
            before = self.pop_transform(image)["extra_info"]
            nothing = torch.zeros(1).expand(1, *before["shape"])
            affine = torch.tensor(before["affine"], dtype=torch.float64)
            found = onto(_volume(image), Volume(nothing, affine), mode="bilinear")
            moved[key] = _as_image(found, image)
        return moved


def _volume(image: Any) -> Volume:
    return Volume(image.as_tensor().cpu(), image.affine.to("cpu", torch.float64))


def _as_image(volume: Volume, like: MetaTensor) -> MetaTensor:
    """A volume with what another image has been through and came with."""
    image = MetaTensor(volume.array, meta=dict(like.meta))
    image.affine = volume.affine
    image.applied_operations = list(like.applied_operations)
    return image
