"""The files of a trained model, a folder or a zip of it: written whole, read without trust."""

import hashlib
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from thirdaxis.atomic import atomic_path, write_folder
from thirdaxis.errors import InputError
from thirdaxis.nets.saved import check_free

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
MODEL = "model"
"""Where a run folder keeps its model."""
# A MONAI bundle keeps the model one folder down.
INNER = "models"
FORMAT, FORMAT_VERSION = "thirdaxis-model", 1
LARGEST_CONFIG = 2**24
MOST_FILES = 1000
# Weights hardly shrink, so what grows more than this when unpacked is no model.
MOST_GROWTH = 100

Reader = Callable[[str, float], bytes | None]


def read_model_files(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads the configuration and the weights of a trained model; runs nothing, unpacks nothing.

    Args:
        path: a model folder, a MONAI bundle that holds one, or a zip of either.

    Returns:
        What `config.json` holds, and the tensors by name, on the CPU.

    Raises:
        InputError: missing, damaged or foreign files, weights that are not those of the
            configuration, or a format that this version does not know.
    """
    if not path.exists():
        raise InputError(f"{path}: no such folder or file; expected a trained model or a run")
    if path.is_dir():
        return _read_parts(path, lambda *what: _of_folder(path, *what))
    try:
        with zipfile.ZipFile(path) as archive:
            members = _checked_members(path, archive)
            return _read_parts(path, lambda *what: _of_archive(path, archive, members, *what))
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: not a trained model ({reason}); expected a folder with {CONFIG} and "
            f"{WEIGHTS}, or a zip of it"
        ) from None


def write_model_files(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files of a model whole or not at all.

    Args:
        path: a folder, or a file that ends in `.zip`.
        files: place below the folder -> content.

    Raises:
        UsageError: the folder holds other files.
        OSError: the place cannot be written.
    """
    if path.suffix.lower() != ".zip":
        check_free(path, next(iter(files)))
        write_folder(path, files)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for place, content in files.items():
            # With the date of today, the same model would be another file each time.
            archive.writestr(zipfile.ZipInfo(place), content)


def config_of_text(text: str | bytes, source: object) -> dict[str, Any]:
    """Reads a `config.json`.

    Args:
        text: its content.
        source: what to call it in errors.

    Raises:
        InputError: not JSON, not of a trained model, or of a later format.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: not readable as JSON ({str(error)[:200]})") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise InputError(
            f"{source}: not of a model of thirdaxis; expected a table with format {FORMAT!r}"
        )
    version = config.get("format_version")
    if version != FORMAT_VERSION:
        maker = config.get("provenance")
        maker = maker.get("thirdaxis") if isinstance(maker, dict) else None
        raise InputError(
            f"{source}: written in format {version!r} by thirdaxis {maker or 'unknown'}; this "
            f"version reads format {FORMAT_VERSION}: update thirdaxis"
        )
    return config


def sha256_of(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _read_parts(path: Path, read: Reader) -> tuple[dict[str, Any], dict[str, Tensor]]:
    for inner in ("", f"{INNER}/"):
        text = read(inner + CONFIG, LARGEST_CONFIG)
        if text is not None:
            break
    else:
        raise InputError(
            f"{path}: not a run folder and not a trained model, it has no {CONFIG}; expected what "
            "`thirdaxis train` or `thirdaxis pack` writes"
        )
    config = config_of_text(text, f"{path}: {inner}{CONFIG}")
    content = read(inner + WEIGHTS, math.inf)
    if content is None:
        raise InputError(f"{path}: not a whole model, {inner}{WEIGHTS} is missing")
    if sha256_of(content) != config.get("weights_sha256"):
        raise InputError(
            f"{path}: {inner}{WEIGHTS} is damaged, or not the file that {CONFIG} was written for"
        )
    try:
        return config, safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{path}: {inner}{WEIGHTS} is not readable ({error})") from None


def _of_folder(folder: Path, place: str, most: float) -> bytes | None:
    file = folder / place
    if not file.is_file():
        return None
    _check_size(folder, place, file.stat().st_size, most)
    return file.read_bytes()


def _of_archive(
    path: Path,
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    place: str,
    most: float,
) -> bytes | None:
    if place not in members:
        return None
    member = members[place]
    _check_size(
        path, place, member.file_size, min(most, MOST_GROWTH * member.compress_size + 2**16)
    )
    return archive.read(member)


def _check_size(path: Path, place: str, size: int, most: float) -> None:
    if size > most:
        raise InputError(f"{path}: {place} has {size} bytes, more than it can have in a model")


def _checked_members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by their place below the one folder they may lie in."""
    found = [member for member in archive.infolist() if not member.is_dir()]
    if len(found) > MOST_FILES:
        raise InputError(f"{path}: holds {len(found)} files; a model has a handful")
    for member in found:
        name = PurePosixPath(member.filename)
        if name.is_absolute() or ".." in name.parts or set("\\:\0") & set(member.filename):
            raise InputError(f"{path}: the file {member.filename!r} in it points outside")
    names = [member.filename for member in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: holds the file {twice!r} twice")
    tops = {name.partition("/")[0] for name in names}
    bundled = f"{INNER}/{CONFIG}" in names
    top = tops.pop() + "/" if len(tops) == 1 and CONFIG not in names and not bundled else ""
    return {member.filename.removeprefix(top): member for member in found}
