"""Folders of label maps from any tool: which file is which case, and what its values mean."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from thirdaxis.data.classes import as_classes
from thirdaxis.data.folder import Case, read_folder
from thirdaxis.data.volume import Volume, file_ending, read_labels, same_grid
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.run_folder import SETTINGS, cases_named, read_run
from thirdaxis.tasks.scans import FILES
from thirdaxis.tasks.segmentation.prepare import data_folder

TOOLS = (".seg", "_0000")
"""What tools put between a case's name and the file's ending: 3D Slicer, and nnU-Net."""


@dataclass(frozen=True)
class Truth:
    """The label maps to score against.

    Args:
        files: case name -> label map.
        labels: label value -> name; none where no `dataset.json` names them.
        complete: whether every case has to be predicted.
        images: case name -> its scan, where known.
        of_value: which classes the files' values are, see `thirdaxis.data.classes.Classes`.
    """

    files: dict[str, Path]
    labels: dict[int, str] | None
    complete: bool
    images: dict[str, Path] = field(default_factory=dict)
    of_value: tuple[tuple[int, int], ...] | None = None


def find_truth(against: Path) -> Truth:
    """Finds the label maps that a path stands for.

    Args:
        against: a run folder (its held-out cases), a data set folder, or a folder of label maps.

    Returns:
        Their files by case name. A run's held-out cases have to be predicted completely.

    Raises:
        InputError: nothing to score against.
    """
    if (against / SETTINGS).is_file():
        run = read_run(against)
        folder = data_folder(run.settings)
        return _of_cases(cases_named(folder, run.validation), folder.labels, complete=True)
    if (against / "dataset.json").is_file():
        folder = read_folder(against)
        return _of_cases(folder.cases, folder.labels, complete=False)
    if (against.parent / "dataset.json").is_file():
        folder = read_folder(against.parent)
        images = {case.name: case.images[0] for case in folder.cases}
        return Truth(label_files(against), folder.labels, complete=False, images=images)
    return Truth(label_files(against), None, complete=False)


def _of_cases(cases: Iterable[Case], labels: dict[int, str], complete: bool) -> Truth:
    labelled = [case for case in cases if case.label is not None]
    of_value = labelled[0].of_value if labelled else None
    return Truth(
        {case.name: case.label for case in labelled if case.label is not None},
        labels,
        complete,
        {case.name: case.images[0] for case in labelled},
        of_value,
    )


def label_files(folder: Path) -> dict[str, Path]:
    """The volume files of a folder by case name, `TOOLS` and endings taken off; DICOM aside.

    Raises:
        InputError: no such folder, no volumes in it, or two of one case.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name[0] == "." or file_ending(path) not in FILES:
            continue
        name = path.name[: len(path.name) - len(file_ending(path))]
        for ending in TOOLS:
            name = name.removesuffix(ending)
        if name in found:
            raise InputError(
                f"{path}: is of the case {name!r}, and so is {found[name].name}; keep one"
            )
        found[name] = path
    if not found:
        raise InputError(f"{folder}: no label maps; expected files such as CASE.nii.gz")
    return found


def read_regions(words: str) -> dict[str, frozenset[int]]:
    """Reads what label values are called: `1=liver,2=lesion`, or `1+2=liver,2=lesion`.

    Raises:
        UsageError: anything else, a name twice, or the background.
    """
    regions: dict[str, frozenset[int]] = {}
    for word in words.split(","):
        values, equals, name = (part.strip() for part in word.partition("="))
        try:
            numbers = frozenset(int(value) for value in values.split("+"))
        except ValueError:
            numbers = frozenset()
        if not numbers or not equals or not name:
            raise UsageError(f"labels {word!r}: expected VALUE=NAME, as in 1=liver,2=lesion")
        if min(numbers) < 1:
            raise UsageError(f"labels {word!r}: 0 and below are background")
        if name in regions:
            raise UsageError(
                f"labels {words!r}: {name!r} is there twice; join values as 1+2={name}"
            )
        regions[name] = numbers
    return regions


@dataclass(frozen=True)
class Regions:
    """What is scored, by a number each, and which label values it has.

    Args:
        names: number -> name.
        true: number -> its values in the true label maps.
        predicted: number -> its values in the predicted ones.
        strict: whether other values than these are refused; otherwise they are background.
        of_value: which classes the true files' values are, as in `Truth`.
    """

    names: dict[int, str]
    true: dict[int, frozenset[int]]
    predicted: dict[int, frozenset[int]]
    strict: bool
    of_value: tuple[tuple[int, int], ...] | None = None

    def pick(self, labels: Tensor, values: Mapping[int, frozenset[int]], number: int) -> Tensor:
        """The voxels of one region."""
        wanted = torch.tensor(sorted(values[number]), dtype=labels.dtype)
        return torch.isin(labels, wanted)


def regions_of(truth: Truth, labels: str | None, predicted: str | None) -> Regions:
    """Settles what is scored.

    Args:
        truth: where no labels are told, its names or the values in its files.
        labels: as `read_regions` takes it, of the true label maps.
        predicted: the same of predictions whose values differ.

    Raises:
        InputError: nothing but background.
        UsageError: wrong words, `predicted` without `labels` or with other names.
    """
    if labels is None:
        if predicted is not None:
            raise UsageError("--prediction-labels goes with --labels, which names the true values")
        names = dict(truth.labels) if truth.labels else _values_in(truth.files.values())
        names.pop(0, None)
        if not names:
            raise InputError("the true label maps hold background alone, nothing to score")
        alone = {value: frozenset({value}) for value in names}
        return Regions(names, alone, alone, strict=True, of_value=truth.of_value)
    told = read_regions(labels)
    other = told if predicted is None else read_regions(predicted)
    if set(other) != set(told):
        raise UsageError(
            f"--prediction-labels names {', '.join(other)}, --labels names {', '.join(told)}"
        )
    numbers = dict(enumerate(told, 1))
    return Regions(
        numbers,
        {number: told[name] for number, name in numbers.items()},
        {number: other[name] for number, name in numbers.items()},
        strict=False,
        of_value=truth.of_value,
    )


def read_pair(prediction: Path, truth: Path, regions: Regions) -> tuple[Volume, Volume]:
    """Reads a predicted and a true label map.

    Raises:
        InputError: files that cannot be read, other grids, or label values that are not known.
    """
    mine, its = read_labels(prediction), read_labels(truth)
    its = Volume(as_classes(its.array, regions.of_value), its.affine)
    if not same_grid(mine, its):
        raise InputError(
            f"{prediction}: not on the grid of {truth}: {mine.shape} voxels of {mine.spacing} mm, "
            f"expected {its.shape} of {its.spacing}; resample one onto the other"
        )
    for path, volume in ((prediction, mine), (truth, its)):
        unknown = sorted(set(volume.array.unique().tolist()) - {0, *regions.names})
        if regions.strict and unknown:
            raise InputError(
                f"{path}: has the label {unknown[0]}, the data set has 0 and "
                f"{', '.join(map(str, regions.names))}; --labels says which values to score"
            )
    return mine, its


def _values_in(files: Iterable[Path]) -> dict[int, str]:
    values: set[int] = set()
    for path in files:
        values.update(read_labels(path).array.unique().tolist())
    return {value: str(value) for value in sorted(values)}
