"""Runs that follow each other, each beginning with the network that the one before it learnt."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from thirdaxis.atomic import write_text
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks import runs
from thirdaxis.tasks.dry_run import TASKS
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.hardware import rank
from thirdaxis.tasks.network import check_fit
from thirdaxis.tasks.run_folder import METRICS, STAGES, new_run_folder
from thirdaxis.tasks.settings import RunSettings
from thirdaxis.tasks.settings_files import make_settings, merged, read_settings_file

NAME = re.compile(r"[\w-]+")


def runs_of(told: Mapping[str, Any], out: Path, origin: str) -> dict[Path, RunSettings]:
    """The runs that settings tell of: one, or one for each of their `stages`.

    A stage has the settings told for all with its own laid over them, and begins with the best
    network of the stage before it, unless it names other `weights`. A stage that is null is left
    out, as a row of a recipe may do.

    Args:
        told: setting name -> value, unchecked; `stages` holds name -> settings, in order.
        out: the folder to make; of a run, or of the runs of the stages.
        origin: where the settings came from, for errors.

    Returns:
        Run folder -> settings, in order.

    Raises:
        UsageError: an unknown setting or an impossible value, or stages that are none.
    """
    if "stages" not in told:
        return {out: make_settings(told, origin)}
    found: dict[Path, RunSettings] = {}
    before = None
    common = {name: value for name, value in told.items() if name != "stages"}
    for name, own in _tables(told, origin).items():
        values = merged(common, own)
        if before is not None:
            values["weights"] = own.get("weights", str(before))
        before = out / name
        found[before] = make_settings(values, f"{origin}: stages.{name}")
    return found


def check_reached(told: Mapping[str, Any], words: Mapping[str, Any], origin: str) -> None:
    """Refuses words of a command line that every stage has a value of its own for.

    Args:
        told: all settings.
        words: those of the command line.
        origin: of the stages, for errors.

    Raises:
        UsageError: with what to say instead.
    """
    if "stages" not in told:
        return
    tables = _tables(told, origin)
    for word in words:
        if word != "stages" and all(word in own for own in tables.values()):
            instead = " or ".join(f"stages.{name}.{word}=" for name in tables)
            raise UsageError(f"{word}: each stage of {origin} has its own; take --set {instead}")


def train_stages(
    stages: Mapping[Path, RunSettings], out: Path, display: Display | None = None
) -> None:
    """Trains the stages one after the other, each in a run folder of its own inside `out`.

    Args:
        stages: from `runs_of`.
        out: the folder to make.
        display: how the runs show themselves; none keeps them silent.

    Raises:
        ThirdaxisError: a fault in the settings or the data, or a stage whose network cannot take
            that of the one before it; told before anything is trained.
        OSError: the folder cannot be written.
    """
    if rank() == 0:
        check_stages(stages)
        with new_run_folder(out) as partial:
            plain = {run.name: settings.pinned().plain() for run, settings in stages.items()}
            write_text(partial / STAGES, yaml.safe_dump(plain, sort_keys=False))
    _go_through(stages, display or Display())


def resume_stages(out: Path, display: Display | None = None) -> None:
    """Goes on with stages where they were stopped, to what unbroken ones would have given.

    Args:
        out: the folder that `train_stages` made.
        display: how the runs show themselves; none keeps them silent.

    Raises:
        ThirdaxisError: not such a folder, a damaged checkpoint, or data that are gone.
    """
    _go_through(read_stages(out), display or Display())


def read_stages(out: Path) -> dict[Path, RunSettings]:
    """The stages of a folder that `train_stages` made.

    Raises:
        InputError: not such a folder, or a damaged one.
    """
    path = out / STAGES
    told = read_settings_file(path)
    try:
        return {out / name: make_settings(own, f"{path}: {name}") for name, own in told.items()}
    except (UsageError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: not the stages of a run ({error})") from None


def check_stages(stages: Mapping[Path, RunSettings]) -> None:
    """Checks that each stage can begin with the network of the one before it.

    Raises:
        ThirdaxisError: it cannot, or a network cannot be built.
    """
    nets: dict[str, torch.nn.Module] = {}
    with torch.device("meta"):
        for run, settings in stages.items():
            nets[str(run)], _ = TASKS[settings.task].network_of(settings)
    for run, settings in stages.items():
        if settings.weights in nets:
            tensors = nets[settings.weights].state_dict()
            check_fit(nets[str(run)], tensors, str(settings.weights))


def _go_through(stages: Mapping[Path, RunSettings], shown: Display) -> None:
    for number, (run, settings) in enumerate(stages.items(), 1):
        if (run / METRICS).is_file():
            continue
        if rank() == 0:
            shown.say(f"stage {number} of {len(stages)}: {run}")
        if run.exists():
            runs.resume(run, shown)
        else:
            runs.train(settings, run, shown)


def _tables(told: Mapping[str, Any], origin: str) -> dict[str, Mapping[str, Any]]:
    tables = told["stages"]
    kept: dict[str, Any] = {}
    if isinstance(tables, Mapping):
        kept = {str(name): own for name, own in tables.items() if own is not None}
    wrong = [name for name, own in kept.items() if not _is_stage(name, own)]
    if wrong or not kept:
        came = wrong[0] if wrong else tables
        raise UsageError(
            f"{origin}: stages are a table of name -> table of settings, got {came!r}; a name has "
            "letters, digits, - and _ alone"
        )
    return kept


def _is_stage(name: str, own: Any) -> bool:
    return NAME.fullmatch(name) is not None and isinstance(own, Mapping)
