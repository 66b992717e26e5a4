"""Finished runs of any task: where they lie, what they were told, and how they scored."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thirdaxis.errors import InputError
from thirdaxis.tasks.run_folder import METRICS, SETTINGS
from thirdaxis.tasks.settings_files import make_settings, read_settings_file

OVER_ALL = "mean"
"""Of scores label by label, the table that is over all of them."""


@dataclass(frozen=True)
class Finished:
    """A run that has been scored.

    Args:
        folder: of the run.
        settings: all of them, as a file holds them; those that were not there yet when it was
            trained have their defaults.
        scores: by name, in the order of `metrics.json`; nan where there is none.
    """

    folder: Path
    settings: dict[str, Any]
    scores: dict[str, float]

    @property
    def task(self) -> str:
        """What was learnt."""
        return str(self.settings["task"])


def find_runs(places: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Run folders among these places and in them, each once.

    Args:
        places: run folders, which have to be finished, or folders that hold some at any depth.

    Returns:
        The finished ones, and those in the folders that are not.

    Raises:
        InputError: no such folder, no run in it, or a run that is named and not finished.
    """
    found: dict[Path, Path] = {}
    under_way = []
    for place in places:
        if (place / SETTINGS).is_file():
            if not (place / METRICS).is_file():
                raise InputError(
                    f"{place}: this run is not finished; go on with it by: thirdaxis train "
                    f"--resume --out {place}"
                )
            found.setdefault(place.resolve(), place)
            continue
        if not place.is_dir():
            raise InputError(f"{place}: no such folder; expected a run, or a folder of runs")
        inside = _runs_in(place)
        done = [run for run in inside if (run / METRICS).is_file()]
        if not done:
            unfinished = f" ({len(inside)} are not finished)" if inside else ""
            raise InputError(f"{place}: holds no finished run{unfinished}")
        under_way += [run for run in inside if run not in done]
        for run in done:
            found.setdefault(run.resolve(), run)
    return list(found.values()), under_way


def read_finished(folder: Path) -> Finished:
    """Reads one run.

    Raises:
        InputError: its `metrics.json` is damaged or has no numbers.
        UsageError: its settings are none of this version.
    """
    origin = folder / SETTINGS
    settings = make_settings(read_settings_file(origin), str(origin)).plain()
    try:
        told = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        scores = flat(told)
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / METRICS}: not the scores of a run ({error})") from None
    if not scores:
        raise InputError(f"{folder / METRICS}: has no numbers")
    return Finished(folder, settings, scores)


def flat(told: dict[str, Any]) -> dict[str, float]:
    """The numbers of a `metrics.json`, `scores` first and its mean over the labels before each.

    Args:
        told: what the file says. A table in `scores` gives `LABEL.NAME`, that of the mean `NAME`.
    """
    scores = told.get("scores") or {}
    tables = {name: part for name, part in scores.items() if isinstance(part, dict)}
    found = _numbers(tables.pop(OVER_ALL, {})) | _numbers(scores)
    for label, table in tables.items():
        found |= {f"{label}.{name}": value for name, value in _numbers(table).items()}
    return found | {name: one for name, one in _numbers(told).items() if name not in found}


def _numbers(table: dict[str, Any]) -> dict[str, float]:
    return {
        name: math.nan if value is None else float(value)
        for name, value in table.items()
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    }


def _runs_in(place: Path) -> list[Path]:
    """Runs below a folder, but not in runs, behind links, or where a name begins with a dot."""
    found: list[Path] = []
    for folder in _folders(place):
        if (folder / SETTINGS).is_file():
            found.append(folder)
        else:
            found += _runs_in(folder)
    return found


def _folders(place: Path) -> Iterable[Path]:
    return (
        one
        for one in sorted(place.iterdir())
        if one.is_dir() and not one.is_symlink() and one.name[0] != "."
    )
