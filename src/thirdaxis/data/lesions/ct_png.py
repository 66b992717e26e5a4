"""CT slices as PNG files of 16 bits: the stored number is the Hounsfield unit plus 32768."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from thirdaxis.atomic import atomic_path
from thirdaxis.errors import InputError

ZERO_HU = 32768


def read_ct_png(path: str | Path) -> np.ndarray:
    """Reads a slice.

    Args:
        path: a PNG of one channel and 16 bits.

    Returns:
        ``(H, W)`` int16, HU.

    Raises:
        InputError: no such file, a damaged one, or another kind of picture, such as 8 bits.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            mode, stored = image.mode, np.asarray(image)
    except FileNotFoundError:
        raise InputError(f"{path}: no such slice") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as fault:
        raise InputError(f"{path}: damaged or not PNG ({fault})") from None
    if not mode.startswith("I"):  # Pillow has called 16 bits `I` and `I;16`
        kind = {"L": "8 bits", "1": "1 bit"}.get(mode, f"{mode} pixels")
        raise InputError(
            f"{path}: has {kind}, expected one channel of 16 bits (HU + {ZERO_HU}); a picture made "
            "for looking at has lost its Hounsfield units"
        )
    return (stored.astype(np.uint16) ^ ZERO_HU).view(np.int16)


def write_ct_png(path: str | Path, hu: np.ndarray, *, effort: int = 1) -> None:
    """Writes a slice, whole or not at all.

    Args:
        path: the file; its folder must exist.
        hu: ``(H, W)``, rounded to whole HU and cut to -32768 to 32767.
        effort: of the compression, 0 to 9.

    Raises:
        OSError: where the file cannot be written.
    """
    whole = np.clip(np.rint(hu), -ZERO_HU, ZERO_HU - 1).astype(np.int16)
    image = Image.fromarray(whole.view(np.uint16) ^ np.uint16(ZERO_HU))
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG", compress_level=effort)
