"""Many scans, one after the other, none of which ends the work on the others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from thirdaxis.errors import InputError, UsageError


class Named(Protocol):
    """A scan of any form."""

    @property
    def name(self) -> str:
        """Its own among those of a batch."""


Scan = TypeVar("Scan", bound=Named)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What became of scans.

    Args:
        written: name of a scan -> what was made of it.
        finished: names of those that were done already.
        failed: name of a scan -> one line that says what was wrong with it.
    """

    written: dict[str, Result] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> list[str]:
        """Names of those whose results are there, by name."""
        return sorted([*self.written, *self.finished])


def one_by_one(
    scans: Sequence[Scan],
    work: Callable[[Scan], Result],
    is_done: Callable[[Scan], bool],
    place: Callable[[Scan], Path],
    *,
    watch: Callable[[Sequence[Scan]], Iterable[Scan]],
    say: Callable[[str], None],
) -> Done[Result]:
    """Does what is not done yet.

    Args:
        scans: their names differ.
        work: what is done with a scan.
        is_done: whether its results are there and whole, and may stay.
        place: where they are, for a line about those that stay.
        watch: wraps the scans to show progress.
        say: told that line.

    Raises:
        InputError: the only scan cannot be read or used.
    """
    done: Done[Result] = Done()
    for scan in watch(scans):
        if is_done(scan):
            done.finished.append(scan.name)
            say(f"{place(scan)}: is there already; --overwrite does it again")
            continue
        try:
            done.written[scan.name] = work(scan)
        except InputError as error:
            if len(scans) == 1:
                raise
            done.failed[scan.name] = str(error)
    return done


def check_folder(out: Path, instead: str = "name a folder") -> None:
    """Refuses to write many results into a file.

    Raises:
        UsageError: with what to do instead.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; {instead}")
