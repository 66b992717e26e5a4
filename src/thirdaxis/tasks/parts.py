"""Which cases a run learns from, chooses its best epoch by, and is judged by, by patient."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from thirdaxis.data.split import check_apart, share, split
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.settings import RunSettings

OFFICIAL = {"train": "training", "val": "validation", "test": "test"}


class Case(Protocol):
    """A slice or a volume with lesions, or without."""

    @property
    def name(self) -> str:
        """Unique in its set."""

    @property
    def patient(self) -> str:
        """Whose it is."""

    @property
    def split(self) -> str | None:
        """Its official part."""

    @property
    def boxes(self) -> Collection[Any]:
        """Of its lesions."""


def parts_of(
    cases: Sequence[Case],
    settings: RunSettings,
    *,
    official: bool,
    selection: float,
    origin: str,
    what: str,
) -> dict[str, list[str]]:
    """Names of the cases to learn from (`training`), to choose by (`validation`), to judge by.

    Official parts are taken as they are, folds keep patients whole. The fraction of the training
    patients is taken last, so that smaller ones choose by the same cases.

    Args:
        cases: of the data set.
        settings: of the run.
        official: whether official parts are taken where there are any, else folds.
        selection: share of the training patients to choose by, where there is no official part.
        origin: of the cases, for errors.
        what: one is called, such as ``slice``, for errors.

    Raises:
        InputError: a patient in two parts, an official split without training or test cases, or
            no lesion in one of these.
        UsageError: more folds than patients, or nothing left to learn from.
    """
    known = {one.name: one for one in cases}

    def patient(name: str) -> str:
        return known[name].patient

    parts: dict[str, list[str]] = {"training": [], "validation": [], "test": []}
    if official and any(one.split for one in cases):
        parts = _official(cases, origin, what)
        check_apart(parts, patient)
        _check_filled(parts, origin, what)
    else:
        parts["training"], parts["test"] = split(
            list(known),
            folds=settings.folds,
            fold=settings.fold,
            seed=settings.seed,
            group=patient,
        )
    by: dict[str, Any] = {"seed": settings.seed, "group": patient}
    if not parts["validation"] and selection > 0:
        chosen = set(share(parts["training"], selection, **by))
        parts["validation"] = [name for name in parts["training"] if name in chosen]
        parts["training"] = [name for name in parts["training"] if name not in chosen]
        if not parts["training"]:
            raise UsageError(f"{settings.data}: selection {selection} leaves no training")
    if settings.fraction < 1:
        parts["training"] = share(parts["training"], settings.fraction, **by)
    for part in ("training", "test"):
        if not any(len(known[name].boxes) for name in parts[part]):
            raise InputError(
                f"{origin}: none of the {len(parts[part])} {part} {what}s has a lesion; "
                "look at the boxes, or take other folds or a larger fraction"
            )
    return parts


def _official(cases: Sequence[Case], origin: str, what: str) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {"training": [], "validation": [], "test": []}
    for one in cases:
        if one.split not in OFFICIAL:
            raise InputError(
                f"{origin}: the {what} {one.name!r} is in no official part, others are; mend that, "
                "or make folds by official=false"
            )
        parts[OFFICIAL[one.split]].append(one.name)
    return parts


def _check_filled(parts: Mapping[str, Sequence[str]], origin: str, what: str) -> None:
    for part in ("training", "test"):
        if not parts[part]:
            counts = ", ".join(f"{name} {len(names)}" for name, names in parts.items())
            raise InputError(
                f"{origin}: the official split has no {part} {what}s ({counts}); "
                "make folds by official=false"
            )


class Named(Protocol):
    """Anything with a name of its own in a data set."""

    @property
    def name(self) -> str:
        """Its name."""


Item = TypeVar("Item", bound=Named)


def picked(items: Iterable[Item], names: Iterable[str], origin: object, what: str) -> list[Item]:
    """The items of these names, in this order.

    Args:
        items: of a data set.
        names: such as a run's split has them.
        origin: of the data set, for the error.
        what: an item is.

    Raises:
        InputError: the data set no longer has one of them.
    """
    known, names = {item.name: item for item in items}, list(names)
    gone = [name for name in names if name not in known]
    if gone:
        raise InputError(f"{origin}: has no {what} {gone[0]!r}, which the run's split names")
    return [known[name] for name in names]
