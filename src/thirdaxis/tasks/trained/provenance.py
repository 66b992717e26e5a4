"""Where a trained network comes from: 2D weights, data, scores, versions, the day."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import thirdaxis
from thirdaxis.nets.build import weights_named
from thirdaxis.nets.licences import UNKNOWN, licence_of
from thirdaxis.tasks.run_folder import METRICS, VERSIONS, WEIGHTS, Run
from thirdaxis.tasks.settings import RunSettings
from thirdaxis.tasks.trained.files import CONFIG, MODEL, sha256_of


def provenance_of(run: Run[Any, Any]) -> dict[str, Any]:
    """Gathers what the run folder, and what it was made from, still tell.

    Nothing in it names a case, a patient or a folder of the machine.

    Args:
        run: a run with at least one finished epoch.

    Returns:
        Plain words and numbers: `thirdaxis` (its version), `made` (date, UTC), `weights_2d`,
        `training_data`, `metrics`, `versions`.
    """
    told = _read(run.folder / VERSIONS)
    return {
        "thirdaxis": thirdaxis.__version__,
        "made": datetime.now(UTC).date().isoformat(),
        "weights_2d": _weights(run),
        "training_data": _data(run),
        "metrics": _numbers(_read(run.folder / METRICS)),
        "versions": {name: value for name, value in told.items() if name != "platform"},
    }


def shareable(settings: RunSettings) -> RunSettings:
    """The settings without places and hardware of the machine they were used on."""
    return settings.model_copy(
        update={
            **{name: _name(value) for name, value in settings if isinstance(value, str)},
            "data": Path(settings.data).name,
            "cache": None,
            "accelerator": "auto",
            "devices": 1,
            "nodes": 1,
            "workers": 0,
        }
    )


def _name(value: str) -> str:
    """Of a path from the root its last part."""
    return Path(value).name if Path(value).is_absolute() else value


def _weights(run: Run[Any, Any]) -> dict[str, Any]:
    settings = run.settings
    given = weights_named(settings.weights)
    place = given if isinstance(given, Path) else None
    report = run.folder / WEIGHTS
    loaded = report.read_text(encoding="utf-8").partition("\n")[0] if report.is_file() else ""
    told = {
        "network": settings.network,
        "source": shareable(settings).weights or "random start",
        "sha256": sha256_of(place.read_bytes()) if place is not None and place.is_file() else None,
        "licence": licence_of(settings.network, given),
        "loaded": loaded.rpartition(": ")[2],  # what stands before is the place of the file
    }
    if place is not None and place.is_dir():  # another run, which began somewhere itself
        before = _read(place / MODEL / CONFIG).get("provenance", {})
        told |= {"licence": UNKNOWN, "run": before}
    return told


def _data(run: Run[Any, Any]) -> dict[str, Any]:
    place = Path(run.settings.data)
    about = _read(place / "dataset.json")
    told = {key: about[key] for key in ("licence", "reference") if isinstance(about.get(key), str)}
    name = about.get("name")
    return {
        "name": name if isinstance(name, str) and name else place.name,
        "training_cases": len(run.training),
        "held_out_cases": len(run.validation),
        "test_cases": len(run.test),
        **told,
    }


def _read(path: Path) -> dict[str, Any]:
    """A table of a JSON file, empty where there is none: what is not known is not told."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _numbers(table: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers alone, at any depth: words in a table of scores may be names of cases."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            inner = _numbers(value)
            if inner:
                found[name] = inner
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
    return found
