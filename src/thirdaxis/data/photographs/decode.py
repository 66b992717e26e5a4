"""The bytes of a photograph as a tensor of three colours."""

import io

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image
from torchvision.tv_tensors import Image

from thirdaxis.errors import InputError

COLOURED = ("RGB", "YCbCr")
CONVERTED = ("L", "LA", "1", "P", "PA", "CMYK", "RGBA", "RGBX")


class DamagedPicture(InputError):
    """Bytes that are not a whole picture."""


def decode(content: bytes) -> tuple[Image, bool]:
    """Decodes a photograph, whatever its file is called.

    JPEG in colour is decoded by torchvision, the rest by Pillow. Grey pictures get three equal
    colours, CMYK is taken to RGB as Pillow does, palettes and transparency are resolved. What a
    camera noted of its orientation is left alone, as ImageNet's users do.

    Args:
        content: the bytes of a file.

    Returns:
        (3, H, W) uint8, and whether it was stored as anything else than three colours.

    Raises:
        DamagedPicture: no picture, cut short, or of a kind that has no 8 bits a colour.
    """
    try:
        with Pillow.open(io.BytesIO(content)) as opened:
            kind, mode = opened.format, opened.mode
            if mode not in COLOURED and mode not in CONVERTED:
                raise DamagedPicture(f"pixels of the kind {mode!r}; expected 8 bits a colour")
            if kind == "JPEG" and mode == "RGB":
                return Image(_jpeg(content)), False
            pixels = np.array(opened.convert("RGB"))
    except DamagedPicture:
        raise
    # Pillow's readers of many formats raise what they like on bytes that make no sense.
    except Exception as fault:
        raise DamagedPicture(_reason(fault)) from None
    return Image(torch.from_numpy(pixels).permute(2, 0, 1)), mode not in COLOURED


def _jpeg(content: bytes) -> Tensor:
    # Pillow would take half as long again.
    return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)


def _reason(fault: Exception) -> str:
    if isinstance(fault, Pillow.UnidentifiedImageError):
        return "not a picture"
    told = str(fault).strip().splitlines()
    # torchvision puts its own source file before the reason.
    return (told[0].rpartition(": ")[2] if told else "") or type(fault).__name__
