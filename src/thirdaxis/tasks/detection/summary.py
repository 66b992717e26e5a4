"""The end of a run of lesion detection: test slices through the chosen network, and scores."""

import math
from typing import Any

from thirdaxis.atomic import write_text
from thirdaxis.data.detections import write_detections
from thirdaxis.data.lesions import LesionSet
from thirdaxis.metrics.froc import RATES, Froc, FrocIntervals, froc, froc_intervals
from thirdaxis.tasks.classification.evaluate import json_text
from thirdaxis.tasks.detection.cases import slices_of
from thirdaxis.tasks.detection.key_slices import detect_slices
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.hardware import pick_device
from thirdaxis.tasks.keep import HISTORY, read_history
from thirdaxis.tasks.model import keep_model, load_model
from thirdaxis.tasks.pictures import draw_curves
from thirdaxis.tasks.run_folder import CURVES, METRICS, Run
from thirdaxis.tasks.run_page import recorded_results, write_run_page

DETECTIONS, FROC = "detections.json", "froc.json"


def finish(run: Run[Any, Any], lesions: LesionSet, shown: Display) -> dict[str, object]:
    """Scores the chosen network on the test slices.

    Args:
        run: a run whose epochs are done.
        lesions: its data set.
        shown: how the run shows itself.

    Returns:
        What `metrics.json` holds: the chosen epoch, its validation FROC, the sensitivities on the
        test slices with their intervals, steps and time.
    """
    settings = run.settings
    history = read_history(run.folder / HISTORY)
    test = slices_of(lesions, run.test, settings, run.plan)
    net = load_model(run.folder).net.to(pick_device(settings.accelerator))
    found = detect_slices(net, test, settings.batch, shown.watch, settings.workers)
    write_detections(run.folder / DETECTIONS, found)
    scored = froc(found, {one.name: one.boxes for one in test.slices})
    patients = {one.name: one.patient for one in test.slices}
    ends = froc_intervals(scored, patients, draws=settings.draws, seed=settings.seed)
    told = told_scores(scored, ends)
    write_text(run.folder / FROC, json_text(told))
    draw_curves(history, run.folder / CURVES)
    validated = [row for row in history if not math.isnan(row["val_froc"])]
    best = max(validated, key=lambda row: row["val_froc"], default=None)
    metrics: dict[str, object] = {
        "epochs": len(history),
        "steps": int(history[-1]["step"]),
        "chosen_epoch": len(history) if best is None else int(best["epoch"]) + 1,
        "validation_froc": None if best is None else best["val_froc"],
        "training_slices": len(run.training),
        "training_lesions": run.plan.lesions,
        "validation_slices": len(run.validation),
        "test_slices": len(run.test),
        "test_lesions": scored.lesions,
        "scores": told["scores"],
        "intervals": told["intervals"],
        "seconds": round(sum(row["seconds"] for row in history), 2),
    }
    write_text(run.folder / METRICS, json_text(metrics))
    write_run_page(run, recorded_results(run.folder))
    keep_model(run.folder)
    low, high = ends.mean
    shown.say(
        f"test slices: FROC {scored.mean:.4f} (95 % {low:.4f} to {high:.4f}), "
        f"{scored.lesions} lesions on {scored.images} slices; see {run.folder}"
    )
    return metrics


def told_scores(scored: Froc, ends: FrocIntervals) -> dict[str, dict[str, Any]]:
    """Sensitivities and their intervals by name, as strict JSON holds them."""
    names = ["froc", *(f"sensitivity_{rate:g}" for rate in RATES)]
    values = [scored.mean, *scored.sensitivity_at().tolist()]
    spans = [ends.mean, *(ends.at[rate] for rate in RATES)]
    return {
        "scores": {name: _strict(value) for name, value in zip(names, values, strict=True)},
        "intervals": {
            name: [_strict(end) for end in span] for name, span in zip(names, spans, strict=True)
        },
    }


def _strict(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
