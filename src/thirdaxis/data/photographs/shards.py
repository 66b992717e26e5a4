"""Pictures in shards: WebDataset's tar files, opened at any sample."""

import os
import re
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thirdaxis.data.photographs.folder import ENDINGS
from thirdaxis.data.photographs.pictures import Pictures, check_classes
from thirdaxis.errors import InputError, UsageError

LABEL = ".cls"
BLOCK = 512
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True)
class Members:
    """Files inside of tar files.

    Args:
        shards: the tar files.
        shard: (n,) which of them holds each file.
        offset: (n,) where its bytes begin.
        size: (n,) how many there are.
    """

    shards: tuple[Path, ...]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray

    def content(self, number: int) -> bytes:
        """The bytes of a file, read where they lie."""
        with self.shards[self.shard[number]].open("rb") as stream:
            stream.seek(int(self.offset[number]))
            return stream.read(int(self.size[number]))

    def name(self, number: int) -> str:
        """The tar file, and where in it."""
        return f"{self.shards[self.shard[number]]}@{self.offset[number]}"


def is_shards(told: str) -> bool:
    """Whether data are named as shards: a tar file, or a pattern of them."""
    return told.endswith(".tar")


def shard_files(pattern: str) -> list[Path]:
    """The files that a pattern names, in its order.

    Args:
        pattern: with ranges and choices in braces, as `train-{000..146}.tar` or `{a,b}.tar`, or
            with `*` and `?`.

    Raises:
        InputError: none, or not all of them are there.
        UsageError: a range that cannot be counted.
    """
    found = [one for place in map(Path, _expanded(pattern)) for one in _matching(place)]
    missing = [file for file in found if not file.is_file()]
    if not found:
        raise InputError(f"{pattern}: no such shards")
    if missing:
        raise InputError(f"{len(missing)} of {len(found)} shards are missing, such as {missing[0]}")
    return found


def read_shards(pattern: str, classes: int | None = None) -> Pictures:
    """Finds the samples of shards: a picture and, of the same name, `.cls` with its class's number.

    Each shard is gone through once, from header to header; then any sample is read where it lies,
    so that the order of training is free and a resumed run goes on with it.

    Args:
        pattern: see `shard_files`.
        classes: how many there are; none takes the highest number found.

    Returns:
        The pictures in the order of the shards; their classes are called by their numbers.

    Raises:
        InputError: shards that are missing, compressed or cut short, samples without a picture or a
            class, or classes without a picture.
    """
    files = shard_files(pattern)
    rows = [row for number, file in enumerate(files) for row in _samples(file, number)]
    if not rows:
        raise InputError(f"{pattern}: the shards hold no samples")
    shard, offset, size, labels = np.array(rows, np.int64).T
    most = int(labels.max()) + 1
    if classes is not None and most > classes:
        raise InputError(f"{pattern}: has a class {most - 1}, the training pictures {classes} only")
    names = tuple(map(str, range(classes or most)))
    members = Members(tuple(files), shard.astype(np.int32), offset, size)
    pictures = Pictures(names, labels.copy(), members, np.arange(len(rows)))
    if classes is None:
        check_classes(pictures, pattern)
    return pictures


def _expanded(pattern: str) -> list[str]:
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    inner = match[1]
    choices: Sequence[str] = inner.split(",")
    if counted := _RANGE.fullmatch(inner):
        first, last = counted.groups()
        if int(first) > int(last):
            raise UsageError(f"{pattern}: the range {{{inner}}} runs backwards")
        width = len(first) if first.startswith("0") else 0
        choices = [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
    elif len(choices) < 2:
        raise UsageError(f"{pattern}: expected {{000..146}} or {{a,b}}, got {{{inner}}}")
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return [head + choice + rest for choice in choices for rest in _expanded(tail)]


def _matching(place: Path) -> list[Path]:
    wild = any(mark in place.name for mark in "*?")
    return sorted(place.parent.glob(place.name)) if wild else [place]


def _samples(path: Path, number: int) -> Iterable[tuple[int, int, int, int]]:
    """(shard, offset, size, class) of each sample of a shard, in its order."""
    found: dict[str, tuple[int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, _, file = member.name.rpartition("/")
                stem, dot, ending = file.partition(".")
                key = f"{folder}/{stem}"
                if not member.isfile() or file.startswith("."):
                    continue
                if dot + ending.lower() in ENDINGS:
                    found[key] = (member.offset_data, member.size)
                elif dot + ending == LABEL:
                    labels[key] = _label(tar, member, path)
            end = tar.offset
    except (tarfile.TarError, EOFError) as fault:
        whole = len(found.keys() & labels.keys())
        raise InputError(
            f"{path}: not a whole tar file ({fault}) after {whole} samples; get it again, or leave "
            "it out of the pattern"
        ) from None
    if path.stat().st_size < end + BLOCK or not _ends(path, end):
        whole = len(found.keys() & labels.keys())
        raise InputError(
            f"{path}: cut short after {whole} samples, it has no end mark; get it again, or leave "
            "it out of the pattern"
        )
    lone = sorted(found.keys() ^ labels.keys())
    if lone:
        lacks = "class (.cls)" if lone[0] in found else f"picture ({', '.join(ENDINGS[:3])}, ...)"
        raise InputError(f"{path}: sample {lone[0].strip('/')!r} has no {lacks}")
    return [(number, *place, labels[key]) for key, place in found.items()]


def _label(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> int:
    stream = tar.extractfile(member)
    text = b"" if stream is None else stream.read(32)
    try:
        label = int(text)
    except ValueError:
        label = -1
    if label < 0:
        raise InputError(
            f"{path}: {member.name} says {text[:20]!r}; expected the number of a class, from 0"
        )
    return label


def _ends(path: Path, offset: int) -> bool:
    """Whether a block of zeros closes the archive there."""
    with path.open("rb") as stream:
        stream.seek(offset, os.SEEK_SET)
        return stream.read(BLOCK) == bytes(BLOCK)
