"""A run folder: where each file lies, how it begins whole, and what is read back from it."""

import json
import platform
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import yaml

from thirdaxis.atomic import write_text
from thirdaxis.data.folder import Case, Folder
from thirdaxis.data.patients import patient_of
from thirdaxis.data.split import split
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.kinds import KINDS, AnyPlan
from thirdaxis.tasks.parts import picked
from thirdaxis.tasks.segmentation.settings import SegmentSettings
from thirdaxis.tasks.settings import RunSettings
from thirdaxis.tasks.settings_files import make_settings, read_settings_file

SETTINGS, PLAN, SPLIT, VERSIONS = "settings.yaml", "plan.json", "split.json", "versions.json"
STAGES = "stages.yaml"  # of a folder that holds runs which follow each other
CONVERSION, WEIGHTS = "conversion.txt", "weights.txt"
PARTS = ("training", "validation", "test")
METRICS, CURVES, VALIDATION, PICTURES = "metrics.json", "curves.png", "validation", "pictures"
PACKAGES = (
    *("thirdaxis", "torch", "torchvision", "lightning", "monai", "numpy", "scipy", "nibabel"),
    *("SimpleITK", "timm", "segmentation-models-pytorch"),
)


Settings = TypeVar("Settings", bound=RunSettings, covariant=True)
Decided = TypeVar("Decided", bound=AnyPlan, covariant=True)


@dataclass(frozen=True)
class Run(Generic[Settings, Decided]):
    """What was settled when a run began.

    Args:
        folder: of the run.
        settings: of the run.
        plan: what the data set decided.
        training: names of the training cases.
        validation: names of the held-out cases.
        test: names of further cases, scored once at the end; none where all are held out in turn.
    """

    folder: Path
    settings: Settings
    plan: Decided
    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()


@contextmanager
def new_run_folder(out: Path) -> Iterator[Path]:
    """Lends a folder beside `out` that becomes `out` at the end, or goes when the body raises.

    Args:
        out: the run folder to make; its missing parents are made.

    Yields:
        The temporary folder.

    Raises:
        UsageError: `out` exists already.
        OSError: its parent cannot be written.
    """
    if out.exists() or out.is_symlink():
        begun = (out / SETTINGS).exists() or (out / STAGES).exists()
        hint = " (--resume goes on with it)" if begun else ""
        raise UsageError(f"{out}: exists already{hint}; name a new folder for this run")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{secrets.token_hex(4)}-{out.name}")
    partial.mkdir()
    try:
        yield partial
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def split_cases(settings: SegmentSettings, folder: Folder) -> tuple[list[str], list[str]]:
    """Names of the training and of the held-out cases, no patient in both."""
    names = [case.name for case in folder.cases]
    rule = settings.patient
    return split(
        names,
        folds=settings.folds,
        fold=settings.fold,
        fraction=settings.fraction,
        seed=settings.seed,
        group=patient_of(rule, folder.root, names) if rule else None,
    )


def write_run(folder: Path, run: Run[Any, Any], conversion: str, weights: str) -> None:
    """Writes what is known when a run begins.

    Args:
        folder: where to, before it takes its final name.
        run: what was settled.
        conversion: the converter's report.
        weights: the report of what was loaded.
    """
    write_text(folder / SETTINGS, yaml.safe_dump(run.settings.plain(), sort_keys=False))
    write_text(folder / PLAN, json.dumps(run.plan.plain(), indent=2) + "\n")
    parts = {name: list(getattr(run, name)) for name in PARTS}
    write_text(folder / SPLIT, json.dumps(parts, indent=1) + "\n")
    write_text(folder / VERSIONS, json.dumps(versions(), indent=2) + "\n")
    write_text(folder / CONVERSION, conversion.rstrip() + "\n")
    write_text(folder / WEIGHTS, weights.rstrip() + "\n")


def read_run(folder: Path) -> Run[Any, Any]:
    """Reads back what `write_run` wrote.

    Raises:
        InputError: not a run folder, or a damaged one.
    """
    if (folder / STAGES).is_file():
        last = list(read_settings_file(folder / STAGES))[-1]
        raise InputError(f"{folder}: holds stages, each a run folder; name one: {folder / last}")
    if not (folder / SETTINGS).is_file():
        state = "not a run folder" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {state}; expected one that `thirdaxis train` made")
    settings = make_settings(read_settings_file(folder / SETTINGS), str(folder / SETTINGS))
    plan = read_plan(folder / PLAN, KINDS[settings.task].plan_from)
    try:
        parts = json.loads((folder / SPLIT).read_text(encoding="utf-8"))
        named = {name: tuple(parts[name]) for name in PARTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / SPLIT}: not a split of a run ({error})") from None
    return Run(folder, settings, plan, **named)


def read_plan(path: Path, plan_from: Callable[[Mapping[str, Any]], AnyPlan]) -> AnyPlan:
    """Reads the `plan.json` of a run folder.

    Raises:
        InputError: the file is missing or is not a plan.
    """
    try:
        return plan_from(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(f"{path.parent}: not a run folder, it has no {path.name}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a plan of a run ({error})") from None


def cases_named(folder: Folder, names: Sequence[str]) -> list[Case]:
    """The cases of a data set with these names, in this order.

    Raises:
        InputError: the data set no longer has one of them.
    """
    return picked(folder.cases, names, folder.root, "case")


def versions() -> dict[str, str]:
    """Versions of Python, of the packages that matter, and the device, for `versions.json`."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    return found
