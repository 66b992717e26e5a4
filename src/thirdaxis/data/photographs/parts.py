"""Training and held-out pictures of a data set, however it is laid out."""

from dataclasses import replace
from pathlib import Path

from thirdaxis.data.photographs.folder import read_photo_folder
from thirdaxis.data.photographs.pictures import Pictures, hold_out, share
from thirdaxis.data.photographs.shards import is_shards, read_shards
from thirdaxis.errors import InputError

TRAINING, VALIDATION = "train", "val"


def read_photographs(
    data: str,
    validation: str | None = None,
    *,
    folds: int = 10,
    fold: int = 0,
    fraction: float = 1.0,
    seed: int = 0,
) -> tuple[Pictures, Pictures]:
    """Finds training and held-out pictures.

    Args:
        data: a folder of classes, one that holds such folders as `train` and maybe `val`, or
            shards, see `thirdaxis.data.photographs.shards.shard_files`.
        validation: held-out pictures, a folder of classes or shards; none takes `val` beside
            `train`, or holds out a part of each class.
        folds: parts of each class.
        fold: the one that is held out.
        fraction: of each class's training pictures.
        seed: of the parts and the fraction.

    Returns:
        Training and held-out pictures, of the same classes.

    Raises:
        InputError: missing or damaged folders and shards, classes without pictures, or held-out
            pictures of other classes.
    """
    root = Path(data)
    if is_shards(data):
        training = read_shards(data)
    elif (root / TRAINING).is_dir():
        training = read_photo_folder(root / TRAINING)
        if validation is None and (root / VALIDATION).is_dir():
            validation = str(root / VALIDATION)
    else:
        training = read_photo_folder(root)
    if validation is None:
        training, held = hold_out(training, folds, fold, seed, data)
    else:
        held = _held(validation, training.classes)
    return share(training, fraction, seed), held


def _held(source: str, classes: tuple[str, ...]) -> Pictures:
    if is_shards(source):
        return replace(read_shards(source, len(classes)), classes=classes)
    held = read_photo_folder(Path(source))
    if held.classes != classes:
        unlike = sorted(set(held.classes) ^ set(classes))
        raise InputError(
            f"{source}: its classes are not those of the training pictures; {unlike[0]!r} is in "
            "one of them alone"
        )
    return held
