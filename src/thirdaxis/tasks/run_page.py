"""The page of a training run, finished or under way: what came of it, how, and from what."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thirdaxis.errors import InputError
from thirdaxis.tasks.keep import HISTORY, best_row, read_history
from thirdaxis.tasks.page import (
    Facts,
    Fixed,
    Picture,
    Section,
    Table,
    Text,
    drawn,
    embedded,
    write_page,
)
from thirdaxis.tasks.pictures import curves_figure, score_word
from thirdaxis.tasks.run_folder import (
    CONVERSION,
    METRICS,
    PICTURES,
    PLAN,
    SETTINGS,
    SPLIT,
    VERSIONS,
    WEIGHTS,
    Run,
)

REPORT = "report.html"
FILES = {
    SETTINGS: "Settings",
    WEIGHTS: "Weights that were loaded",
    CONVERSION: "Conversion to 3D",
    PLAN: "What the data set decided",
    SPLIT: "Training and held-out cases",
    VERSIONS: "Versions",
    METRICS: "All numbers",
}


def write_run_page(run: Run[Any, Any], results: Sequence[Section] = ()) -> Path:
    """Writes `report.html` into a run folder, one self-contained page.

    Args:
        run: finished or under way.
        results: what the task says of the held-out cases; nothing while it is under way.

    Returns:
        The page's path.

    Raises:
        OSError: the folder is not writable or full.
    """
    settings = run.settings
    history = read_history(run.folder / HISTORY) if (run.folder / HISTORY).exists() else []
    training, held = len(run.training), len(run.test or run.validation)
    if not training:  # photographs, too many to be named, are counted by the plan
        training, held = run.plan.training, run.plan.validation
    under_way = "" if results else " Under way: the held-out cases are scored at the end."
    lead = (
        f"{settings.network}, {settings.fusion}, "
        f"{'weights: ' + Path(settings.weights).name if settings.weights else 'random start'}; "
        f"{training} training and {held} held-out cases of "
        f"{Path(settings.data).name}.{under_way}"
    )
    sections = [
        *results,
        Section("Training", training_parts(run, history)),
        Section("From what", file_parts(run.folder)),
    ]
    return write_page(run.folder / REPORT, f"Run {run.folder.resolve().name}", lead, sections)


def recorded_results(folder: Path) -> list[Section]:
    """Results of a finished run as its files hold them: scores with intervals, and pictures.

    Args:
        folder: a run folder whose `metrics.json` has `scores` and `intervals`, name by name, and
            maybe a `note` on the data.

    Raises:
        InputError: it has not.
    """
    try:
        told = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        rows = [
            [name, value, *told["intervals"].get(name, (None, None))]
            for name, value in told["scores"].items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / METRICS}: not the scores of a run ({error})") from None
    table = Table(["score", "value", "95 % from", "to"], rows)
    pictures = [
        Picture(embedded(path), path.stem, path.stem)
        for path in sorted((folder / PICTURES).glob("*.png"))
    ]
    note = [Text(told["note"])] if told.get("note") else []
    return [Section("Held-out samples", [*note, table]), Section("Pictures", pictures)]


def training_parts(
    run: Run[Any, Any], history: Sequence[dict[str, float]]
) -> list[Facts | Picture | Text]:
    """How far it is, the best epoch, and the curves."""
    if not history:
        return [Text("No epoch is done yet.")]
    score = next(name for name in history[0] if name.startswith("val_"))
    best = best_row(history, score)
    facts = [
        ("epochs", f"{len(history)} of {run.settings.epochs}", f"{history[-1]['step']:.0f} steps"),
        ("training loss", f"{history[-1]['train_loss']:.4f}", "last epoch"),
        ("training time", _duration(sum(row["seconds"] for row in history)), ""),
    ]
    if best is not None:
        name = f"best validation {score_word(score)}"
        facts.insert(1, (name, f"{best[score]:.4f}", f"epoch {best['epoch'] + 1:.0f}"))
    curves = Picture(drawn(curves_figure(history)), "Loss, validation score and learning rate")
    return [Facts(facts), curves]


def file_parts(folder: Path) -> list[Fixed]:
    """The run's own files, to be opened by a click."""
    return [
        Fixed(f"{title} ({name})", (folder / name).read_text(encoding="utf-8"))
        for name, title in FILES.items()
        if (folder / name).is_file()
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
