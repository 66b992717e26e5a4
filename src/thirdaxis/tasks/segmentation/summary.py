"""The end of a run: held-out scans through the best network, scores, curves and pictures."""

import json
import math
from pathlib import Path
from typing import Any

from thirdaxis.atomic import write_text
from thirdaxis.data.folder import Folder
from thirdaxis.data.volume import read_labels, write_labels
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.keep import HISTORY, best_row, read_history
from thirdaxis.tasks.model import keep_model
from thirdaxis.tasks.page import Section
from thirdaxis.tasks.pictures import draw_curves, draw_overlay
from thirdaxis.tasks.run_folder import CURVES, METRICS, PICTURES, VALIDATION, Run, cases_named
from thirdaxis.tasks.run_page import write_run_page
from thirdaxis.tasks.segmentation.evaluate import Evaluation, evaluate, score
from thirdaxis.tasks.segmentation.model import load_segmenter
from thirdaxis.tasks.segmentation.prepare import labelled_case
from thirdaxis.tasks.segmentation.regions import scored
from thirdaxis.tasks.segmentation.scores_page import case_sections, numbers


def finish(run: Run[Any, Any], data: Folder, shown: Display) -> dict[str, object]:
    """Scores the best network on the held-out scans' own grids and draws what it found.

    Args:
        run: a run whose epochs are done.
        data: its data set.
        shown: how the run shows itself.

    Returns:
        What `metrics.json` holds: the best epoch, its validation Dice on the network's grid, the
        final scores by class, steps and time.
    """
    history = read_history(run.folder / HISTORY)
    _predict_held_out(run, data)
    labels = scored(run.settings, run.plan.labels)
    scores = evaluate(run.folder / VALIDATION, run.folder, labels=labels)
    draw_curves(history, run.folder / CURVES)
    table = scores.summary()
    pictures = _draw_cases(run, data, scores)
    best = best_row(history, "val_dice")
    steps = history[-1]["step"]
    seconds = sum(row["seconds"] for row in history)
    metrics: dict[str, object] = {
        "epochs": len(history),
        "steps": int(steps),
        "best_epoch": None if best is None else int(best["epoch"]) + 1,
        "best_validation_dice": None if best is None else best["val_dice"],
        "training_cases": len(run.training),
        "held_out_cases": len(run.validation),
        "scores": _plain(table),
        "pictures": pictures,
        "seconds": round(seconds, 2),
    }
    write_text(run.folder / METRICS, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    keep_model(run.folder)
    _page(run, scores)
    mean = table["mean"]
    lost = f" ({mean['hd95_infinite']} infinite)" if mean["hd95_infinite"] else ""
    shown.say(
        f"held-out scans: Dice {mean['dice_mean']:.4f}, over all voxels {mean['dice_global']:.4f},"
        f" HD95 {mean['hd95_mm_mean']:.2f} mm{lost}; see {run.folder}"
    )
    return metrics


def write_report(run: Run[Any, Any]) -> Path:
    """Scores the held-out label maps of a finished run again and writes its page.

    Returns:
        The page's path.

    Raises:
        InputError: the data or the label maps are gone.
    """
    labels = scored(run.settings, run.plan.labels)
    return _page(run, score(run.folder / VALIDATION, run.folder, labels=labels))


def _page(run: Run[Any, Any], scores: Evaluation) -> Path:
    results = [
        Section("Held-out cases", numbers(scores)),
        *case_sections(scores, 3, scores.truth.images.get),
    ]
    return write_run_page(run, results)


def _predict_held_out(run: Run, folder: Folder) -> None:
    segmenter = load_segmenter(run.folder)
    target = run.folder / VALIDATION
    target.mkdir(exist_ok=True)
    for case in cases_named(folder, run.validation):
        image, _ = labelled_case(case, run.plan.labels)
        write_labels(target / f"{case.name}.nii.gz", segmenter(image), image.affine)


def _draw_cases(run: Run, folder: Folder, scores: Evaluation) -> dict[str, str]:
    """Draws the worst, the median and the best case by mean Dice; returns which they were."""
    rows = sorted(
        (row for row in scores.rows if not math.isnan(row.mean_dice)),
        key=lambda row: row.mean_dice,
    )
    if not rows:
        return {}
    target = run.folder / PICTURES
    target.mkdir(exist_ok=True)
    chosen = {"worst": rows[0], "median": rows[len(rows) // 2], "best": rows[-1]}
    for word, row in chosen.items():
        image, label = labelled_case(cases_named(folder, [row.name])[0], run.plan.labels)
        found = read_labels(run.folder / VALIDATION / f"{row.name}.nii.gz")
        draw_overlay(
            image,
            found.array[0],
            label.array[0],
            f"{word}: {row.name}, mean Dice {row.mean_dice:.3f}",
            target / f"{word}.png",
        )
    return {word: row.name for word, row in chosen.items()}


def _plain(table: dict[str, dict[str, float | int]]) -> dict[str, dict[str, float | int | None]]:
    """Strict JSON has no nan."""
    return {
        name: {key: value if math.isfinite(value) else None for key, value in column.items()}
        for name, column in table.items()
    }
