"""A run folder: where each file lies, how it begins whole, and what is read back from it."""

import json
import platform
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import yaml

from thirdaxis.atomic import write_text
from thirdaxis.data.folder import Case, Folder
from thirdaxis.data.split import split
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.plan import Plan, read_plan
from thirdaxis.tasks.settings import SegmentSettings, make_settings, read_settings_file

SETTINGS, PLAN, SPLIT, VERSIONS = "settings.yaml", "plan.json", "split.json", "versions.json"
CONVERSION, WEIGHTS = "conversion.txt", "weights.txt"
METRICS, CURVES, VALIDATION, PICTURES = "metrics.json", "curves.png", "validation", "pictures"
PACKAGES = (
    *("thirdaxis", "torch", "torchvision", "lightning", "monai", "numpy", "scipy", "nibabel"),
    *("SimpleITK", "timm", "segmentation-models-pytorch"),
)


@dataclass(frozen=True)
class Run:
    """What was settled when a run began.

    Args:
        folder: of the run.
        settings: of the run.
        plan: what the data set decided.
        training: names of the training cases.
        validation: names of the held-out cases.
    """

    folder: Path
    settings: SegmentSettings
    plan: Plan
    training: tuple[str, ...]
    validation: tuple[str, ...]


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
        hint = " (--resume goes on with it)" if (out / SETTINGS).exists() else ""
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

    def patient(name: str) -> str:
        found = re.search(settings.patient or "", name)
        if found is None:
            raise UsageError(f"patient {settings.patient!r} matches nothing in the case {name!r}")
        return found.group()

    return split(
        [case.name for case in folder.cases],
        folds=settings.folds,
        fold=settings.fold,
        fraction=settings.fraction,
        seed=settings.seed,
        group=patient if settings.patient else None,
    )


def write_run(folder: Path, run: Run, conversion: str, weights: str) -> None:
    """Writes what is known when a run begins.

    Args:
        folder: where to, before it takes its final name.
        run: what was settled.
        conversion: the converter's report.
        weights: the report of what was loaded.
    """
    write_text(folder / SETTINGS, yaml.safe_dump(run.settings.plain(), sort_keys=False))
    write_text(folder / PLAN, json.dumps(run.plan.plain(), indent=2) + "\n")
    parts = {"training": list(run.training), "validation": list(run.validation)}
    write_text(folder / SPLIT, json.dumps(parts, indent=1) + "\n")
    write_text(folder / VERSIONS, json.dumps(versions(), indent=2) + "\n")
    write_text(folder / CONVERSION, conversion.rstrip() + "\n")
    write_text(folder / WEIGHTS, weights.rstrip() + "\n")


def read_run(folder: Path) -> Run:
    """Reads back what `write_run` wrote.

    Raises:
        InputError: not a run folder, or a damaged one.
    """
    if not (folder / SETTINGS).is_file():
        state = "not a run folder" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {state}; expected one that `thirdaxis train` made")
    settings = make_settings(read_settings_file(folder / SETTINGS), str(folder / SETTINGS))
    plan = read_plan(folder / PLAN)
    try:
        parts = json.loads((folder / SPLIT).read_text(encoding="utf-8"))
        training, validation = tuple(parts["training"]), tuple(parts["validation"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / SPLIT}: not a split of a run ({error})") from None
    return Run(folder, settings, plan, training, validation)


def cases_named(folder: Folder, names: Sequence[str]) -> list[Case]:
    """The cases of a data set with these names, in this order.

    Raises:
        InputError: the data set no longer has one of them.
    """
    known = {case.name: case for case in folder.cases}
    gone = [name for name in names if name not in known]
    if gone:
        raise InputError(f"{folder.root}: has no case {gone[0]!r}, which the run's split names")
    return [known[name] for name in names]


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
