"""Files and folders that appear whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Lends a temporary name beside `path`; what was written there becomes `path` at the end.

    The temporary name keeps the ending of `path`, for writers that choose the format by it. When
    the body raises (a full disk, an interrupt), the temporary file is removed and whatever stood
    at `path` before still stands there.

    Args:
        path: the file to write. Its folder must exist.

    Yields:
        The temporary path to write to.

    Raises:
        OSError: where the folder is missing, full or not writable, naming `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as fault:
        if fault.errno is not None and str(fault.filename) in ("None", str(temporary)):
            raise OSError(fault.errno, fault.strerror, str(path)) from fault
        raise
    finally:
        _remove(temporary)


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file whole or not at all.

    Args:
        path: the file to write. Its folder must exist.
        text: the content.

    Raises:
        OSError: where the folder is missing, full or not writable.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files into a folder: a new one appears whole, in an old one file by file.

    Other files in an old folder are left alone.

    Args:
        folder: made if missing, with its parents.
        files: place below the folder, with `/` between its parts -> content.

    Raises:
        OSError: the disk is full or the place not writable.
    """
    folder = Path(folder).absolute()  # the current folder has a name only so
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{secrets.token_hex(4)}-{folder.name}")
    try:
        draft.mkdir()
        for place, content in files.items():
            (draft / place).parent.mkdir(parents=True, exist_ok=True)
            (draft / place).write_bytes(content)
        if folder.is_dir():
            for place in files:
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                os.replace(draft / place, folder / place)
        else:
            os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """Lends an empty folder beside `folder`, which takes its place at the end of the body.

    When the body raises (a full disk, an interrupt), what was written is removed.

    Args:
        folder: the folder to make; it must be missing or empty. Its parents are made.

    Yields:
        The temporary folder to write into.

    Raises:
        OSError: the place is full or not writable, or `folder` holds something.
    """
    folder = Path(folder).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{secrets.token_hex(4)}-{folder.name}")
    try:
        draft.mkdir()
        yield draft
        os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _remove(path: Path) -> None:
    # In an unwritable folder nothing was made, and the first fault is the one to tell.
    with suppress(OSError):
        path.unlink(missing_ok=True)
