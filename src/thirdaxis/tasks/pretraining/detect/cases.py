"""The pictures of a data set with boxes, and which of them are learnt from."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from thirdaxis.data.coco import CocoSet, check_categories, read_coco
from thirdaxis.data.split import share, split
from thirdaxis.errors import InputError
from thirdaxis.tasks.parts import picked
from thirdaxis.tasks.pretraining.detect.plan import DetectPretrainPlan
from thirdaxis.tasks.pretraining.detect.settings import DetectPretrainSettings

TRAINING = "annotations/instances_train2017.json"
VALIDATION = "annotations/instances_val2017.json"
INSTANCES = re.compile(r"instances_(?P<pictures>.+)")


def read_photographs(
    settings: DetectPretrainSettings, say: Callable[[str], None]
) -> tuple[CocoSet, CocoSet]:
    """Reads the boxes of training and of held-out pictures; both are one set for folds of it.

    Args:
        settings: of the run.
        say: told what was left out.

    Raises:
        InputError: as `read_coco`; two sets of other categories, or that share a picture.
    """
    folder = Path(settings.data)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one that holds {TRAINING}")
    training = _read(settings, settings.annotations or TRAINING, settings.pictures, say)
    validation = settings.validation
    if validation is None and settings.annotations is None and (folder / VALIDATION).is_file():
        validation = VALIDATION
    if validation is None:
        return training, training
    held = _read(settings, validation, settings.validation_pictures, say)
    check_categories(training, held)
    if training.folder.resolve() == held.folder.resolve():
        both = {one.name for one in training.pictures} & {one.name for one in held.pictures}
        if both:
            raise InputError(
                f"{held.origin}: {len(both)} of its pictures are learnt from too, the first "
                f"{min(both)!r}; take them out of {training.origin}"
            )
    return training, held


def split_photographs(
    sets: tuple[CocoSet, CocoSet], settings: DetectPretrainSettings
) -> tuple[list[str], list[str]]:
    """Names of the pictures to learn from, all of which have boxes, and of the held-out ones.

    Raises:
        InputError: no box in one of the parts.
        UsageError: more folds than pictures.
    """
    training, held = sets
    names = [one.name for one in training.pictures]
    if held is training:
        names, kept = split(names, folds=settings.folds, fold=settings.fold, seed=settings.seed)
    else:
        kept = [one.name for one in held.pictures]
    marked = {one.name for one in training.pictures if not one.crowds.all()}
    names = sorted(marked.intersection(names))
    if names and settings.fraction < 1:
        names = share(names, settings.fraction, seed=settings.seed)
    if not names:
        raise InputError(f"{training.origin}: no picture to learn from has a box")
    seen = {one.name for one in held.pictures if not one.crowds.all()}
    if not seen.intersection(kept):
        raise InputError(f"{held.origin}: none of the {len(kept)} held-out pictures has a box")
    return names, kept


def part(one: CocoSet, names: Sequence[str]) -> CocoSet:
    """The pictures of these names, in this order.

    Raises:
        InputError: the data set no longer has one of them.
    """
    return replace(one, pictures=tuple(picked(one.pictures, names, one.origin, "picture")))


def plan_of(
    sets: tuple[CocoSet, CocoSet],
    training: Sequence[str],
    held: Sequence[str],
    settings: DetectPretrainSettings,
) -> DetectPretrainPlan:
    """The plan of a run that learns from pictures of these names."""
    learnt = part(sets[0], training)
    return DetectPretrainPlan(
        names=learnt.names,
        ids=tuple(number for number, _ in learnt.categories),
        size=settings.size,
        pictures=len(training),
        boxes=sum(int((~one.crowds).sum()) for one in learnt.pictures),
        held_out=len(held),
    )


def _read(
    settings: DetectPretrainSettings, name: str, told: str | None, say: Callable[[str], None]
) -> CocoSet:
    folder = Path(settings.data)
    found = INSTANCES.fullmatch(Path(name).stem)
    if told is None and found is None and (folder / name).is_file():
        raise InputError(
            f"{folder / name}: its name does not tell the folder of its pictures, as "
            "instances_train2017.json does; name it by the setting "
            + ("pictures" if name == settings.annotations else "validation_pictures")
        )
    pictures = told or (found["pictures"] if found else "")
    read = read_coco(folder / name, folder / pictures, limit=settings.faulty)
    if read.faults:
        say(
            f"{read.origin}: {len(read.faults)} pictures and boxes cannot be used and are left "
            f"out, the first: {read.faults[0]}"
        )
    return read
