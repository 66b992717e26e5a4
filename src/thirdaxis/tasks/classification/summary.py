"""The end of a classification run: held-out samples through the chosen network, and scores."""

from typing import Any

from thirdaxis.atomic import write_text
from thirdaxis.tasks.classification.cases import Cases
from thirdaxis.tasks.classification.evaluate import SCORES, Scores, json_text, score_answers
from thirdaxis.tasks.classification.pictures import (
    draw_calibration,
    draw_grades,
    draw_roc,
)
from thirdaxis.tasks.classification.predict import answer, load_classifier
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.keep import HISTORY, read_history, told_epochs
from thirdaxis.tasks.model import keep_model
from thirdaxis.tasks.pictures import draw_curves
from thirdaxis.tasks.run_folder import CURVES, METRICS, PICTURES, Run
from thirdaxis.tasks.run_page import recorded_results, write_run_page

PREDICTIONS = "predictions.csv"


def finish(run: Run[Any, Any], cases: Cases, shown: Display) -> dict[str, object]:
    """Scores the chosen network on the held-out samples and draws what it found.

    Args:
        run: a run whose epochs are done.
        cases: its data set.
        shown: how the run shows itself.

    Returns:
        What `metrics.json` holds: the chosen epoch, its validation AUC, the scores of the held-out
        samples with their intervals, steps and time.
    """
    history = read_history(run.folder / HISTORY)
    held_out = cases.named(run.test, run.settings.data)
    found = answer(load_classifier(run.folder), held_out, run.settings, shown.watch)
    write_text(run.folder / PREDICTIONS, found.text())
    scores = score_answers(found, run.settings.draws, run.settings.seed)
    told = scores.plain()
    write_text(run.folder / SCORES, json_text(told))
    _draw(run, history, scores)
    metrics: dict[str, object] = {
        **told_epochs(history, "auc"),
        "training_samples": len(run.training),
        "validation_samples": len(run.validation),
        "held_out_samples": len(run.test),
        "scores": told["scores"],
        "intervals": told["intervals"],
    }
    write_text(run.folder / METRICS, json_text(metrics))
    write_run_page(run, recorded_results(run.folder))
    keep_model(run.folder)
    low, high = scores.intervals["auc"]
    shown.say(
        f"held-out samples: AUC {scores.values['auc']:.4f} (95 % {low:.4f} to {high:.4f}), "
        f"accuracy {scores.values['accuracy']:.4f}; see {run.folder}"
    )
    return metrics


def _draw(run: Run[Any, Any], history: list[dict[str, float]], scores: Scores) -> None:
    draw_curves(history, run.folder / CURVES)
    folder = run.folder / PICTURES
    folder.mkdir(exist_ok=True)
    if run.settings.kind == "grade":
        draw_grades(scores, folder / "grades.png")
    else:
        draw_roc(scores, folder / "roc.png")
        draw_calibration(scores, folder / "calibration.png")
