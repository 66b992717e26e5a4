"""Who trains and who is held out: seeded folds of patients, nested fractions."""

import random
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

from thirdaxis.errors import InputError, UsageError

By = Callable[[str], str] | None
Stratum = Callable[[str], Hashable] | None


def split(
    names: Sequence[str],
    *,
    folds: int,
    fold: int,
    fraction: float = 1.0,
    seed: int = 0,
    group: By = None,
    stratum: Stratum = None,
) -> tuple[list[str], list[str]]:
    """Splits cases into training and held-out ones; all cases of a patient go the same way.

    The answer depends on the set of names and the seed, not on their order. The held-out cases of
    the folds are disjoint and together all. A smaller fraction trains on a subset of a larger
    one's patients, with the same cases held out.

    Args:
        names: case names, each once.
        folds: into how many parts, at least 2.
        fold: which part is held out, counted from 0.
        fraction: the part of the training patients to use, above 0 up to 1; at least one is used.
        seed: of the shuffle.
        group: case name to patient; None takes each case as a patient of its own.
        stratum: case name to what every part should have in equal shares, such as a class. A
            patient of several counts for the rarest.

    Returns:
        The training names and the held-out names, each sorted.

    Raises:
        UsageError: on arguments out of range, names given twice, or more folds than patients.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise UsageError(f"fold {fold} of {folds}: expected at least 2 folds, counted from 0")
    patients = _shuffled(names, seed, group, stratum)
    if len(patients) < folds:
        raise UsageError(f"{folds} folds need as many patients, there are {len(patients)}")
    held_out = set(patients[fold::folds])
    rest = [one for one in patients if one not in held_out]
    if stratum is not None:
        rest = _evenly(rest, _strata(names, group, stratum))
    used = set(_first(rest, fraction))
    ordered = sorted(names)
    patient = _patients(names, group)
    train = [name for name in ordered if patient[name] in used]
    return train, [name for name in ordered if patient[name] in held_out]


def share(
    names: Sequence[str],
    fraction: float,
    *,
    seed: int = 0,
    group: By = None,
    stratum: Stratum = None,
) -> list[str]:
    """The cases of a part of the patients; a smaller part is a subset of a larger one.

    Args:
        names: case names, each once.
        fraction: above 0 up to 1; at least one patient is in it.
        seed: as in `split`.
        group: as in `split`.
        stratum: as in `split`.

    Returns:
        The names, sorted.

    Raises:
        UsageError: as `split`.
    """
    patients = _shuffled(names, seed, group, stratum)
    if stratum is not None:
        patients = _evenly(patients, _strata(names, group, stratum))
    used = set(_first(patients, fraction))
    patient = _patients(names, group)
    return [name for name in sorted(names) if patient[name] in used]


def check_apart(parts: Mapping[str, Sequence[str]], group: Callable[[str], str]) -> None:
    """Refuses a split that has a patient in two parts.

    Args:
        parts: part to case names.
        group: case name to patient.

    Raises:
        InputError: naming the patient and both parts.
    """
    seen: dict[str, str] = {}
    for part, names in parts.items():
        for patient in sorted({group(name) for name in names}):
            if patient in seen:
                raise InputError(
                    f"patient {patient!r} is in both {seen[patient]} and {part}; a patient's scans "
                    "are too alike to learn from some and be judged by others: move them together"
                )
            seen[patient] = part


def check_classes(parts: Mapping[str, Sequence[Hashable]], classes: Sequence[Hashable]) -> None:
    """Refuses a split in which a part lacks a class.

    Args:
        parts: part to the classes of its samples; empty parts are passed over.
        classes: that every part has to have.

    Raises:
        InputError: naming the class and the part.
    """
    for part, found in parts.items():
        counts = Counter(found)
        lacking = [name for name in classes if not counts[name]] if found else []
        if lacking:
            told = ", ".join(f"{name} {counts[name]}" for name in classes)
            raise InputError(
                f"the class {str(lacking[0])!r} has no samples in {part} ({told}); gather "
                "more, use fewer folds or a larger fraction, or leave the class out"
            )


def _patients(names: Sequence[str], group: By) -> dict[str, str]:
    if len(set(names)) != len(names):
        raise UsageError("the same case name is given twice")
    return {name: group(name) if group else name for name in names}


def _strata(
    names: Sequence[str], group: By, stratum: Callable[[str], Hashable]
) -> dict[str, Hashable]:
    """The stratum of each patient, the rarest of its cases'."""
    total = Counter(stratum(name) for name in names)
    found: dict[str, Hashable] = {}
    for name, patient in _patients(names, group).items():
        mine = stratum(name)
        key = (total[mine], str(mine))
        if patient not in found or key < (total[found[patient]], str(found[patient])):
            found[patient] = mine
    return found


def _shuffled(names: Sequence[str], seed: int, group: By, stratum: Stratum) -> list[str]:
    """The patients in an order in which every n-th has the strata in equal shares."""
    patients = sorted(set(_patients(names, group).values()))
    random.Random(seed).shuffle(patients)
    if stratum is not None:
        of = _strata(names, group, stratum)
        patients.sort(key=lambda patient: str(of[patient]))
    return patients


def _evenly(patients: Sequence[str], of: Mapping[str, Hashable]) -> list[str]:
    """Reordered so that every beginning has the strata in equal shares."""
    total = Counter(of[patient] for patient in patients)
    seen: Counter[Hashable] = Counter()
    place = {}
    for patient in patients:
        place[patient] = (seen[of[patient]] + 0.5) / total[of[patient]]
        seen[of[patient]] += 1
    return sorted(patients, key=lambda patient: place[patient])


def _first(patients: Sequence[str], fraction: float) -> Sequence[str]:
    if not 0 < fraction <= 1:
        raise UsageError(f"fraction is above 0 and at most 1, not {fraction}")
    return patients[: max(1, round(fraction * len(patients)))]
