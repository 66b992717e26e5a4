"""The samples of a classification data set, their labels, and which part each belongs to."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from thirdaxis.data.medmnist import MedMNIST, read_medmnist
from thirdaxis.data.samples import Sample, mapped, read_samples
from thirdaxis.data.split import check_apart, check_classes, share, split
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.classification.settings import ClassifySettings


@dataclass(frozen=True, eq=False)
class Cases:
    """A data set before its scans are read.

    Args:
        samples: by name; of a set of MedMNIST their files are its own.
        set: the set of MedMNIST, if it is one.
    """

    samples: dict[str, Sample]
    set: MedMNIST | None = None
    places: dict[str, tuple[str, int]] = field(default_factory=dict)

    def labels(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The labels of these samples, as they are written or mapped."""
        return [self.samples[name].labels for name in names]

    def patient(self, name: str) -> str:
        """Whom a sample is of."""
        return self.samples[name].patient

    def named(self, names: Sequence[str], where: str) -> "Cases":
        """These samples alone, in this order.

        Raises:
            InputError: the data set no longer has one of them.
        """
        gone = [name for name in names if name not in self.samples]
        if gone:
            raise InputError(f"{where}: has no sample {gone[0]!r}, which the run's split names")
        return Cases({name: self.samples[name] for name in names}, self.set, self.places)


def read_cases(settings: ClassifySettings, *, labelled: bool = True) -> Cases:
    """Reads the table of samples, or a set of MedMNIST.

    Args:
        settings: of the run.
        labelled: whether the table has labels; a set of MedMNIST always has.

    Raises:
        ThirdaxisError: as `read_samples`, `mapped` and `read_medmnist`.
    """
    path = Path(settings.data)
    if settings.medmnist:
        return _medmnist(path)
    rows = read_samples(
        path,
        settings.columns(),
        images=settings.image_folder,
        masks=settings.mask_folder,
        drop=settings.drop if labelled else (),
        labelled=labelled,
    )
    if labelled and settings.classes is not None:
        rows = mapped(rows, settings.classes)
    return Cases({row.name: row for row in rows})


def split_samples(cases: Cases, settings: ClassifySettings) -> dict[str, list[str]]:
    """Parts of the data set: `training`, `validation` (to choose by) and `test` (held out).

    An official split is taken as it is, folds have patients of each class in equal shares. The
    fraction of the training patients is taken last, so that smaller ones choose by the same.

    Raises:
        InputError: a patient in two parts, or a training or held-out part without a class.
        UsageError: more folds than patients.
    """
    names = list(cases.samples)
    told = {name: cases.samples[name].part for name in names}

    def label(name: str) -> Hashable:
        return cases.samples[name].labels

    parts: dict[str, list[str]]
    if any(told.values()):
        parts = {part: [] for part in ("training", "validation", "test")}
        for name in names:
            parts[str(told[name])].append(name)
        check_apart(parts, cases.patient)
        for part in ("training", "test"):
            if not parts[part]:
                raise InputError(f"{settings.data}: the official split has no {part} samples")
    else:
        training, test = split(
            names,
            folds=settings.folds,
            fold=settings.fold,
            seed=settings.seed,
            group=cases.patient,
            stratum=label,
        )
        parts = {"training": training, "validation": [], "test": test}
    by = {"seed": settings.seed, "group": cases.patient, "stratum": label}
    if not parts["validation"] and settings.selection > 0:
        chosen = set(share(parts["training"], settings.selection, **by))  # type: ignore[arg-type]
        parts["validation"] = sorted(chosen)
        parts["training"] = [name for name in parts["training"] if name not in chosen]
        if not parts["training"]:
            raise UsageError(f"{settings.data}: selection {settings.selection} leaves no training")
    if settings.fraction < 1:
        parts["training"] = share(parts["training"], settings.fraction, **by)  # type: ignore[arg-type]
    return parts


def make_plan(
    cases: Cases, parts: dict[str, list[str]], settings: ClassifySettings, shape: Sequence[int]
) -> ClassifyPlan:
    """Settles classes and their counts.

    Args:
        cases: the data set.
        parts: of it.
        settings: of the run.
        shape: (C, d, h, w) of a volume as the network sees it.

    Raises:
        InputError: a label that is no 0 or 1, no number, or not among the class names; a class
            without samples.
    """
    names = _names(cases, settings)
    training = cases.labels(parts["training"])
    if settings.kind == "classes":
        found = {part: [one for (one,) in cases.labels(list(n))] for part, n in parts.items()}
        check_classes(found, names)
        counter = Counter(found["training"])
        counts = tuple(counter[name] for name in names)
        mean, spread = 0.0, 1.0
    elif settings.kind == "labels":
        marks = torch.tensor([[int(mark) for mark in one] for one in training])
        for part in ("training", "test"):
            for number, name in enumerate(names):
                column = [one[number] for one in cases.labels(parts[part])]
                check_classes({f"{part}, label {name!r}": column}, ("0", "1"))
        counts, mean, spread = tuple(marks.sum(0).tolist()), 0.0, 1.0
    else:
        grades = torch.tensor([float(one) for (one,) in training])
        if len(grades.unique()) < 2:
            raise InputError(f"{settings.data}: all training samples have the grade {grades[0]:g}")
        counts = (len(grades),)
        mean, spread = float(grades.mean()), float(grades.std(correction=0))
    d, h, w = shape[1:]
    return ClassifyPlan(settings.kind, names, counts, shape[0], (d, h, w), mean, spread)


def _names(cases: Cases, settings: ClassifySettings) -> tuple[str, ...]:
    written = [label for sample in cases.samples.values() for label in sample.labels]
    if settings.kind == "labels":
        strange = sorted(set(written) - {"0", "1"})
        if strange:
            raise InputError(f"{settings.data}: labels are 0 or 1, not {strange[0]!r}")
        return settings.label_columns
    if settings.kind == "grade":
        for word in written:
            try:
                float(word)
            except ValueError:
                raise InputError(f"{settings.data}: the grade {word!r} is no number") from None
        return settings.label_columns
    if cases.set is not None:
        return cases.set.labels
    if settings.class_names is not None:
        strange = sorted(set(written) - set(settings.class_names))
        if strange:
            raise InputError(
                f"{settings.data}: the class {strange[0]!r} is not among the class_names "
                f"{', '.join(settings.class_names)}"
            )
        return settings.class_names
    names = sorted(set(written), key=_in_order)
    if len(names) < 2:
        raise InputError(f"{settings.data}: all samples are of the class {names[0]!r}")
    return tuple(names)


def _in_order(name: str) -> tuple[float, str]:
    """Numbers by size, words by letters after them."""
    try:
        return float(name), ""
    except ValueError:
        return float("inf"), name


def _medmnist(path: Path) -> Cases:
    found = read_medmnist(path)
    samples, places = {}, {}
    for part, truth in found.truth.items():
        for number, value in enumerate(truth.tolist()):
            name = f"{part}-{number:04d}"
            samples[name] = Sample(name, path, (found.labels[value],), name, part=part)
            places[name] = (part, number)
    return Cases(samples, found, places)
