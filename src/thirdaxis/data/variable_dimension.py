"""Photographs as volumes: the variable dimension transform among those of torchvision."""

from typing import Any

import torch
from PIL.Image import Image as Photograph
from torch import Tensor
from torchvision.transforms import v2
from torchvision.tv_tensors import Image

from thirdaxis.axes import channels_as_slices
from thirdaxis.errors import InputError


class VariableDimension(v2.Transform):
    """A picture (3, H, W) becomes a volume (1, 3, H, W), its colours slices; the label stays.

    Any number of channels and a batch (N, C, H, W) will do. It comes last: what it gives are
    plain tensors, which no transform for pictures takes for one. Boxes and masks stay.

    Source: Zhang et al., "Advancing 3D Medical Image Analysis with Variable Dimension Transform
    based Supervised 3D Pre-training" (SVD-Net), 2022.

    Args:
        shuffle: whether the colours come in a random order, drawn for every call and the same for
            all pictures of it; SVD-Net's code does so, its text does not.
    """

    def __init__(self, shuffle: bool = False) -> None:
        super().__init__()
        self.shuffle = shuffle

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The order of the channels, as many as the first picture has; none leaves them."""
        pictures = [x for x in flat_inputs if _is_picture(x)]
        draw = self.shuffle and pictures and pictures[0].dim() > 2
        return {"order": torch.randperm(pictures[0].shape[-3]) if draw else None}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """(C, H, W) to (1, C, H, W), or (N, C, H, W) to (N, 1, C, H, W).

        Raises:
            InputError: a picture that is no tensor yet.
        """
        if isinstance(inpt, Photograph):
            raise InputError(
                "VariableDimension takes tensors, got a PIL picture; put torchvision's "
                "v2.ToImage() before it"
            )
        if not _is_picture(inpt):
            return inpt
        picture, order = inpt.as_subclass(Tensor), params["order"]
        if order is not None:
            picture = picture.index_select(-3, order.to(picture.device))
        return channels_as_slices(picture)


def _is_picture(value: Any) -> bool:
    return isinstance(value, Image) or v2.functional.is_pure_tensor(value)
