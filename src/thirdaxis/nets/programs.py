"""Whether a network's name may call a program: not where the name comes from a stranger's file."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from thirdaxis.errors import UsageError

_allowed: ContextVar[bool] = ContextVar("allowed", default=True)


@contextmanager
def programs(allowed: bool) -> Iterator[None]:
    """Lets `package.module:factory` names be called inside the block, or refuses them."""
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def check_allowed(program: str) -> None:
    """Raises unless programs may be called here.

    Raises:
        UsageError: they may not, naming `program`.
    """
    if not _allowed.get():
        raise UsageError(
            f"it is the program {program!r}, which would be run; allow it with --trust if you know "
            "it"
        )
