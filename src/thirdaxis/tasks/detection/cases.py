"""The key slices of a data set, and which part each belongs to."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from thirdaxis.data.lesions.boxes import read_lesion_boxes
from thirdaxis.data.lesions.deeplesion import TABLE, read_deeplesion
from thirdaxis.data.lesions.key_slice import KeySlice, LesionSet
from thirdaxis.data.lesions.masks import masks_of
from thirdaxis.errors import InputError
from thirdaxis.tasks.detection.data import Slices
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.engine import Watch, no_watch
from thirdaxis.tasks.parts import parts_of, picked

OUTLINES = "outlines.json"


def read_lesions(settings: DetectSettings, say: Callable[[str], None]) -> LesionSet:
    """Reads which slices have which lesions; their pixels are read when they are needed.

    Args:
        settings: of the run.
        say: told which rows were left out, where the settings allow it.

    Raises:
        ThirdaxisError: as `read_deeplesion` and `read_lesion_boxes`.
    """
    folder = Path(settings.data)
    faults: list[str] | None = [] if settings.leave_out_faulty else None
    if settings.boxes is None and folder.is_dir() and not (folder / TABLE).is_file():
        raise InputError(
            f"{folder}: has no {TABLE}; give a folder of DeepLesion, or a folder of scans and name "
            "their boxes or label maps by the setting boxes"
        )
    if settings.boxes is None:
        lesions = read_deeplesion(folder, legacy=settings.legacy, faults=faults)
    else:
        boxes = folder / settings.boxes
        lesions = read_lesion_boxes(folder, boxes, legacy=settings.legacy, faults=faults)
    if faults:
        say(f"{len(faults)} faulty lesions were left out, the first: {faults[0]}")
    return lesions


def split_slices(lesions: LesionSet, settings: DetectSettings) -> dict[str, list[str]]:
    """Names of the key slices of each part, see `parts_of`."""
    return parts_of(
        lesions.slices,
        settings,
        official=settings.official,
        selection=settings.selection,
        origin=lesions.origin,
        what="slice",
    )


def named(lesions: LesionSet, names: Sequence[str]) -> tuple[KeySlice, ...]:
    """The key slices of these names, in this order.

    Raises:
        InputError: the data set no longer has one of them.
    """
    return tuple(picked(lesions.slices, names, lesions.origin, "key slice"))


def make_plan(
    lesions: LesionSet, parts: dict[str, list[str]], settings: DetectSettings
) -> DetectPlan:
    """The plan of a run on the training part."""
    training = lesions.part(parts["training"])
    count = sum(len(one.boxes) for one in training)
    return DetectPlan.of(settings, slices=len(training), lesions=count)


def slices_of(
    lesions: LesionSet,
    names: Sequence[str],
    settings: DetectSettings,
    plan: DetectPlan,
    *,
    drawn: bool = False,
    watch: Watch = no_watch,
) -> Slices:
    """Key slices by name as the network sees them, with outlines where it is to learn them.

    Args:
        lesions: the data set.
        names: of the slices.
        settings: of the run.
        plan: of the run.
        drawn: whether outlines are needed.
        watch: wraps the slices whose outlines are being made.

    Raises:
        ThirdaxisError: a slice that is gone, or as `masks_of`.
    """
    found = named(lesions, names)
    if not drawn or not plan.masks:
        return Slices(found, lesions.read, plan)
    cache = None
    if settings.cache is not None:
        cache = Path(settings.cache) / OUTLINES
        cache.parent.mkdir(parents=True, exist_ok=True)
    outlines = masks_of(
        replace(lesions, slices=found),
        cache,
        window=plan.window,
        watch=lambda these: watch(these, "drawing outlines"),
    )
    return Slices(found, lesions.read, plan, outlines)
