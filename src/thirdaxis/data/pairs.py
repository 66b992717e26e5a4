"""The plainest training folder: `images/` and `masks/` (or `labels/`) with files of equal names."""

from pathlib import Path

from thirdaxis.data.volume import READERS, file_ending
from thirdaxis.errors import InputError

IMAGES, LABELS = "images", ("masks", "labels")


def labels_beside(root: Path) -> Path | None:
    """The folder of label maps, where `root` is a folder of this kind."""
    if not (root / IMAGES).is_dir():
        return None
    return next((root / name for name in LABELS if (root / name).is_dir()), None)


def volumes_in(folder: Path) -> dict[str, Path]:
    """The volume files of a folder by name without ending; hidden and other files are passed over.

    Raises:
        InputError: two files of one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = file_ending(path)
        if path.name[0] == "." or not path.is_file() or ending not in READERS:
            continue
        name = path.name.removesuffix(ending)
        if name in found:
            raise InputError(f"{path}: {found[name].name} is a case of the same name")
        found[name] = path
    return found


def find_pairs(root: Path) -> list[tuple[str, Path, Path]]:
    """Name, image and label map of every case.

    Args:
        root: holds `images/` and `masks/` or `labels/`.

    Raises:
        InputError: an image without a label map, or the other way round.
    """
    labels = labels_beside(root)
    assert labels is not None
    mine, its = volumes_in(root / IMAGES), volumes_in(labels)
    lonely = sorted(mine.keys() ^ its.keys())
    if lonely:
        lacking, there = (labels, mine) if lonely[0] in mine else (root / IMAGES, its)
        raise InputError(
            f"{there[lonely[0]]}: {lacking.name}/ has no file of this name; "
            f"{len(lonely)} of {len(mine.keys() | its.keys())} cases lack one of the two"
        )
    return [(name, image, its[name]) for name, image in mine.items()]
