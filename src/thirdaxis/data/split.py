"""Who trains and who is held out: seeded folds of patients, nested fractions."""

import random
from collections.abc import Callable, Sequence

from thirdaxis.errors import UsageError


def split(
    names: Sequence[str],
    *,
    folds: int,
    fold: int,
    fraction: float = 1.0,
    seed: int = 0,
    group: Callable[[str], str] | None = None,
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

    Returns:
        The training names and the held-out names, each sorted.

    Raises:
        UsageError: on arguments out of range, names given twice, or more folds than patients.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise UsageError(f"fold {fold} of {folds}: expected at least 2 folds, counted from 0")
    if not 0 < fraction <= 1:
        raise UsageError(f"fraction is above 0 and at most 1, not {fraction}")
    if len(set(names)) != len(names):
        raise UsageError("the same case name is given twice")
    patient = {name: group(name) if group else name for name in names}
    patients = sorted(set(patient.values()))
    if len(patients) < folds:
        raise UsageError(f"{folds} folds need as many patients, there are {len(patients)}")
    random.Random(seed).shuffle(patients)
    held_out = set(patients[fold::folds])
    rest = [one for one in patients if one not in held_out]
    used = set(rest[: max(1, round(fraction * len(rest)))])
    ordered = sorted(names)
    train = [name for name in ordered if patient[name] in used]
    return train, [name for name in ordered if patient[name] in held_out]
