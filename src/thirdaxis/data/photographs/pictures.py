"""Photographs with a class each, wherever their bytes lie."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from thirdaxis.errors import InputError


class Stored(Protocol):
    """Pictures by number: their bytes, and what to call them."""

    def content(self, number: int) -> bytes:
        """The bytes of a picture's file."""

    def name(self, number: int) -> str:
        """Where the picture lies, for people."""


@dataclass(frozen=True)
class Pictures:
    """Photographs and the class of each.

    Args:
        classes: names of the classes, in order.
        labels: (n,) class of each picture.
        stored: where they lie; known by `places`.
        places: (n,) number of each picture there.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    stored: Stored
    places: np.ndarray

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.labels)

    def content(self, number: int) -> bytes:
        """The bytes of a picture's file.

        Raises:
            InputError: the file is gone.
        """
        try:
            return self.stored.content(int(self.places[number]))
        except OSError as fault:
            reason = fault.strerror or str(fault)
            raise InputError(f"{self.name(number)}: cannot be read ({reason})") from None

    def name(self, number: int) -> str:
        """Where a picture lies, for people."""
        return self.stored.name(int(self.places[number]))

    def only(self, numbers: np.ndarray) -> Self:
        """These of the pictures, in this order."""
        return type(self)(self.classes, self.labels[numbers], self.stored, self.places[numbers])


def check_classes(pictures: Pictures, source: str) -> None:
    """Checks that there are two classes at least, and pictures of each.

    Args:
        pictures: all of a part.
        source: where they are from, for the error.

    Raises:
        InputError: there are not.
    """
    if len(pictures.classes) < 2:
        raise InputError(
            f"{source}: has {len(pictures.classes)} classes; expected two or more, each a folder "
            "of pictures"
        )
    counts = np.bincount(pictures.labels, minlength=len(pictures.classes))
    empty = [name for name, count in zip(pictures.classes, counts, strict=True) if not count]
    if empty:
        shown = ", ".join(map(repr, empty[:3])) + (", ..." if len(empty) > 3 else "")
        raise InputError(
            f"{source}: {len(empty)} of {len(pictures.classes)} classes have no picture: {shown}; "
            "add some, or remove the class"
        )


def digest(parts: Sequence[Pictures]) -> str:
    """SHA-256 of the names of classes and pictures and their labels, part by part.

    Names of pictures are taken without the folders above their class or shard: a data set may move.
    """
    found = hashlib.sha256()
    for part in parts:
        found.update("\0".join(part.classes).encode())
        found.update(part.labels.astype("<i8").tobytes())
        for number in range(len(part)):
            found.update("/".join(Path(part.name(number)).parts[-2:]).encode() + b"\0")
    return found.hexdigest()


def share(pictures: Pictures, fraction: float, seed: int) -> Pictures:
    """A share of each class, one picture at least; smaller shares are part of larger ones."""
    if fraction == 1:
        return pictures
    kept = [
        members[: max(1, round(fraction * len(members)))] for members in _by_class(pictures, seed)
    ]
    return pictures.only(np.sort(np.concatenate(kept)))


def hold_out(
    pictures: Pictures, folds: int, fold: int, seed: int, source: str
) -> tuple[Pictures, Pictures]:
    """Training and held-out pictures: of each class every `folds`-th, in an order of its own.

    Raises:
        InputError: a class of fewer pictures than folds.
    """
    held = []
    for name, members in zip(pictures.classes, _by_class(pictures, seed), strict=True):
        if len(members) < folds:
            raise InputError(
                f"{source}: class {name!r} has {len(members)} pictures, too few to hold one out of "
                f"{folds}; lower the setting folds, or name held-out ones by validation"
            )
        held.append(members[fold::folds])
    chosen = np.zeros(len(pictures), dtype=bool)
    chosen[np.concatenate(held)] = True
    return pictures.only(np.flatnonzero(~chosen)), pictures.only(np.flatnonzero(chosen))


def _by_class(pictures: Pictures, seed: int) -> list[np.ndarray]:
    order = np.argsort(pictures.labels, kind="stable")
    edges = np.searchsorted(pictures.labels[order], np.arange(len(pictures.classes) + 1))
    return [
        np.random.default_rng((seed, number)).permutation(order[first:last])
        for number, (first, last) in enumerate(pairwise(edges))
    ]
