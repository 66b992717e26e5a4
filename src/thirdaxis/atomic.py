"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
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


def _remove(path: Path) -> None:
    # In an unwritable folder nothing was made, and the first fault is the one to tell.
    with suppress(OSError):
        path.unlink(missing_ok=True)
