"""Pictures in folders, one a class: torchvision's `ImageFolder` layout."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thirdaxis.data.photographs.pictures import Pictures, check_classes
from thirdaxis.errors import InputError

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Files:
    """Files below a folder.

    Args:
        root: the folder.
        names: (n,) of the files from there, as bytes in one array: a million of Python's strings
            would be copied for every process that reads pictures.
    """

    root: Path
    names: np.ndarray

    def content(self, number: int) -> bytes:
        """The bytes of a file."""
        return Path(self.name(number)).read_bytes()

    def name(self, number: int) -> str:
        """Its path."""
        return os.path.join(self.root, os.fsdecode(self.names[number]))  # noqa: PTH118


def read_photo_folder(root: Path) -> Pictures:
    """Finds the pictures of a folder that has one folder for each class, at any depth below it.

    Hidden files and folders are passed over, and so are files without the ending of a picture.

    Args:
        root: the folder; its subfolders, sorted, are the classes.

    Returns:
        The pictures sorted by class and name, none of them opened.

    Raises:
        InputError: no such folder, fewer than two classes, or a class without a picture.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected one folder of pictures for each class")
    classes = sorted(entry.name for entry in root.iterdir() if _shown(entry) and entry.is_dir())
    if not classes:
        raise InputError(f"{root}: has no folders; expected one folder of pictures for each class")
    names: list[bytes] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = _pictures_below(root, name)
        names += found
        labels += [label] * len(found)
    files = np.array(names) if names else np.zeros(0, "S1")
    numbers = np.arange(len(names))
    pictures = Pictures(tuple(classes), np.array(labels, np.int64), Files(root, files), numbers)
    check_classes(pictures, str(root))
    return pictures


def _pictures_below(root: Path, name: str) -> list[bytes]:
    found = []
    for folder, inner, files in os.walk(root / name, followlinks=True):
        inner[:] = [one for one in inner if not one.startswith(".")]
        place = os.path.relpath(folder, root)
        found += [
            os.fsencode(f"{place}/{file}")
            for file in files
            if not file.startswith(".") and file.lower().endswith(ENDINGS)
        ]
    return sorted(found)


def _shown(entry: Path) -> bool:
    return not entry.name.startswith(".")
