"""Progress on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def say(line: str) -> None:
    """Prints one line at once, from whichever process."""
    print(line, flush=True)


def watched(items: Sequence[Item], what: str) -> Iterable[Item]:
    """Goes over items, with a bar where a terminal shows it."""
    if not sys.stderr.isatty():
        return items
    return track(items, description=what, console=Console(stderr=True), transient=True)
