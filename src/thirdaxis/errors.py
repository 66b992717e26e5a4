"""Faults a user can mend: one line that says what came, what was expected and what to do."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


class ThirdaxisError(Exception):
    """Base of every error thirdaxis raises on purpose. The command line exits with `exit_code`."""

    exit_code = 1


class InputError(ThirdaxisError, ValueError):
    """A file or an array that cannot be used as it is."""


class UsageError(ThirdaxisError, ValueError):
    """An argument or a setting that makes no sense, whatever the data."""

    exit_code = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ends an error message on an unknown name: the nearest known one, then all of them.

    Args:
        name: what was given.
        known: what could have been given.

    Returns:
        A text such as ``"; did you mean 'acs'? Known: acs, i3d, slicewise"``.
    """
    names = sorted(known)
    near = get_close_matches(name.lower(), names, n=3, cutoff=0.5)

    def likeness(other: str) -> tuple[float, int]:  # of equally near ones, that of the same letters
        ratio = SequenceMatcher(None, other, name.lower()).ratio()
        return ratio, len(set(other) & set(name.lower()))

    guess = f"; did you mean {max(near, key=likeness)!r}?" if near else "."
    return f"{guess} Known: {', '.join(names)}"
