"""Progress on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress, track

Item = TypeVar("Item")


def say(line: str) -> None:
    """Prints one line at once, from whichever process."""
    print(line, flush=True)


def watched(items: Sequence[Item], what: str) -> Iterable[Item]:
    """Goes over items, with a bar where a terminal shows it."""
    if not sys.stderr.isatty():
        return items
    return track(items, description=what, console=Console(stderr=True), transient=True)


@contextmanager
def two_bars(
    outer: str, inner: str
) -> Iterator[tuple[Callable[[Sequence[Any]], Iterable[Any]], Callable[[int, int], None]]]:
    """Two bars where a terminal shows them: of items, and of the steps of the one at hand.

    Args:
        outer: what the items are.
        inner: what the steps are.

    Yields:
        What goes over the items, and what is called with the steps done and their number.
    """
    if not sys.stderr.isatty():
        yield lambda items: items, lambda done, total: None
        return
    # Lines for a terminal go above the bars; those for a file or a pipe go where they belong.
    bars = Progress(
        console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()
    )
    with bars:
        items_bar, steps_bar = bars.add_task(outer, total=None), bars.add_task(inner, total=None)

        def watch(items: Sequence[Any]) -> Iterator[Any]:
            for number, item in enumerate(items):
                bars.update(items_bar, completed=number, total=len(items))
                bars.update(steps_bar, completed=0, total=None)
                yield item

        yield watch, lambda done, total: bars.update(steps_bar, completed=done, total=total)
