import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photograph() -> Callable[..., np.ndarray]:
    """Smooth colours with some noise, (height, width, 3) uint8; a number is a picture."""

    def made(number: int = 0, height: int = 30, width: int = 40) -> np.ndarray:
        random = np.random.default_rng(number)
        small = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float64)
        return (smooth + random.normal(0, 3, smooth.shape)).clip(0, 255).astype(np.uint8)

    return made


@pytest.fixture(scope="session")
def file_of() -> Callable[..., bytes]:
    """The bytes of a picture file of pixels, in a mode of Pillow and a format."""

    def made(pixels: np.ndarray, mode: str = "RGB", kind: str = "JPEG", **told: Any) -> bytes:
        out = io.BytesIO()
        picture = Image.fromarray(pixels)
        (picture if picture.mode == mode else picture.convert(mode)).save(out, kind, **told)
        return out.getvalue()

    return made


@pytest.fixture(scope="session")
def write_shard() -> Callable[[Path, list[tuple[str, bytes]]], Path]:
    """Writes a tar file of named contents."""

    def written(path: Path, members: list[tuple[str, bytes]]) -> Path:
        with tarfile.open(path, "w") as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return written


@pytest.fixture
def photo_folder(tmp_path: Path, photograph: Any, file_of: Any) -> Path:
    """Three classes of four to six pictures, one of them deeper; something hidden, a text."""
    root = tmp_path / "photos"
    for label, name in enumerate(("cat", "dog", "owl")):
        for number in range(4 + label):
            place = root / name / ("more" if number == 3 else "")
            place.mkdir(parents=True, exist_ok=True)
            pixels = photograph(10 * label + number)
            (place / f"{number}.JPEG").write_bytes(file_of(pixels))
    (root / "cat" / "notes.txt").write_text("no picture", encoding="utf-8")
    (root / "cat" / "._0.JPEG").write_bytes(b"of a Macintosh")
    (root / ".cache").mkdir()
    return root
