import io

import numpy as np
import pytest
import torch
from PIL import Image

from thirdaxis.data.photographs.decode import DamagedPicture, decode


def pillow(content, mode="RGB"):
    return np.asarray(Image.open(io.BytesIO(content)).convert(mode)).transpose(2, 0, 1)


def test_jpeg_is_what_pillow_reads(photograph, file_of):
    content = file_of(photograph(), quality=90)
    picture, converted = decode(content)
    assert picture.dtype == torch.uint8 and picture.shape == (3, 30, 40) and not converted
    # Both stand on libjpeg-turbo, whose way from YCbCr may round differently.
    difference = np.abs(picture.numpy().astype(int) - pillow(content).astype(int))
    assert difference.max() <= 2 and difference.mean() < 0.3


def test_a_lossless_picture_is_itself(photograph, file_of):
    picture, converted = decode(file_of(photograph(), kind="PNG"))
    assert np.array_equal(picture.numpy(), photograph().transpose(2, 0, 1)) and not converted


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "JPEG"), ("L", "PNG"), ("CMYK", "JPEG"), ("P", "PNG"), ("RGBA", "PNG"), ("1", "PNG")],
)
def test_other_colours_become_three_and_are_told(photograph, file_of, mode, kind):
    content = file_of(photograph(), mode, kind)
    picture, converted = decode(content)
    assert converted
    assert np.array_equal(picture.numpy(), pillow(content))
    if mode in {"L", "1"}:
        assert torch.equal(picture[0], picture[1]) and torch.equal(picture[1], picture[2])


def test_cmyk_keeps_its_colours(file_of):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    picture, _ = decode(file_of(red, "CMYK"))
    assert picture[0].float().mean() > 240 and picture[1:].float().mean() < 15


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("left", [0.02, 0.5, 0.9])
def test_a_picture_cut_short_is_damaged(photograph, file_of, kind, mode, left):
    content = file_of(photograph(), mode, kind)
    with pytest.raises(DamagedPicture):
        decode(content[: int(left * len(content))])


@pytest.mark.parametrize("content", [b"", b"no picture at all" * 9, bytes(4096)])
def test_other_bytes_are_damaged(content):
    with pytest.raises(DamagedPicture, match="not a picture"):
        decode(content)


def test_a_reason_is_one_short_line(photograph, file_of):
    content = file_of(photograph())
    with pytest.raises(DamagedPicture) as told:
        decode(content[: len(content) // 2])
    assert "\n" not in str(told.value) and len(str(told.value)) < 120


def test_sixteen_bits_are_not_cut_to_eight(file_of):
    deep = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    out = io.BytesIO()
    deep.save(out, "PNG")
    with pytest.raises(DamagedPicture, match=r"I;16.*expected 8 bits"):
        decode(out.getvalue())
