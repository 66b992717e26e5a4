"""The end of a run of lesion detection: test slices through the chosen network, and scores."""

from typing import Any

from thirdaxis.atomic import write_text
from thirdaxis.data.lesions.detections import Found, write_detections
from thirdaxis.data.lesions.key_slice import LesionSet
from thirdaxis.data.phantoms.sets import phantom_note
from thirdaxis.metrics.froc import RATES
from thirdaxis.tasks.classification.evaluate import json_text
from thirdaxis.tasks.detection.cases import slices_of
from thirdaxis.tasks.detection.evaluate import Evaluation, Scored, score, write_scores
from thirdaxis.tasks.detection.key_slices import detect_slices
from thirdaxis.tasks.detection.page import write_scores_page
from thirdaxis.tasks.detection.truth import Truth
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.froc.plot import draw_froc, froc_line
from thirdaxis.tasks.keep import HISTORY, read_history, told_epochs
from thirdaxis.tasks.model import keep_model, load_model
from thirdaxis.tasks.pictures import draw_curves
from thirdaxis.tasks.run_folder import CURVES, METRICS, PICTURES, Run
from thirdaxis.tasks.run_page import recorded_results, write_run_page

DETECTIONS = "detections.json"


def finish(run: Run[Any, Any], lesions: LesionSet, shown: Display) -> dict[str, object]:
    """Scores the chosen network on the test slices and draws what it found.

    Args:
        run: a run whose epochs are done.
        lesions: its data set.
        shown: how the run shows itself.

    Returns:
        What `metrics.json` holds: the chosen epoch, its validation FROC, the sensitivities on the
        test slices with their intervals, of all and of thin and thick ones, steps and time.
    """
    settings, folder = run.settings, run.folder
    history = read_history(folder / HISTORY)
    test = slices_of(lesions, run.test, settings, run.plan)
    model = load_model(folder)
    model.moved()
    answers = detect_slices(model.net, test, settings.batch, shown.watch, settings.workers)
    found = {name: Found(*one) for name, one in answers.items()}
    write_detections(folder / DETECTIONS, found)
    note = phantom_note(settings.data) or ""
    truth = Truth(tuple(test.slices), test.read, f"{folder.name} (test slices)", note=note)
    scores = score(truth, found, draws=settings.draws, seed=settings.seed)
    write_scores(scores, folder)
    _draw(run, history, scores)
    every = scores.groups[0]
    metrics: dict[str, object] = {
        **told_epochs(history, "froc"),
        "training_slices": len(run.training),
        "training_lesions": run.plan.lesions,
        "validation_slices": len(run.validation),
        "test_slices": len(run.test),
        "test_lesions": every.froc.lesions,
        **told_scores(scores),
        **({"note": note} if note else {}),
    }
    write_text(folder / METRICS, json_text(metrics))
    write_run_page(run, recorded_results(folder))
    keep_model(folder)
    low, high = every.ends.mean
    shown.say(
        f"test slices: FROC {every.froc.mean:.4f} (95 % {low:.4f} to {high:.4f}), "
        f"{every.froc.lesions} lesions on {every.froc.images} slices; see {folder}"
        + (f". {note}" if note else "")
    )
    return metrics


def told_scores(scores: Evaluation) -> dict[str, dict[str, Any]]:
    """Sensitivities and their intervals by name: `froc`, `sensitivity_1`, `thin_froc` and so on.

    Thin are slices up to 2 mm apart, thick those further apart.
    """
    values: dict[str, Any] = {}
    ends: dict[str, Any] = {}
    before = {"all": "", "thin": "thin_", "thick": "thick_"}
    for group in scores.groups:
        word = group.name.partition(",")[0]
        if word in before:
            head = before.pop(word)  # slices of 5 mm alone come after all thick ones
            for name, (value, span) in _numbers(group).items():
                values[head + name], ends[head + name] = value, list(span)
    return {"scores": values, "intervals": ends}


def _numbers(group: Scored) -> dict[str, tuple[float, tuple[float, float]]]:
    at = dict(zip(RATES, group.froc.sensitivity_at().tolist(), strict=True))
    return {
        "froc": (group.froc.mean, group.ends.mean),
        **{f"sensitivity_{rate:g}": (value, group.ends.at[rate]) for rate, value in at.items()},
    }


def _draw(run: Run[Any, Any], history: list[dict[str, float]], scores: Evaluation) -> None:
    draw_curves(history, run.folder / CURVES)
    pictures = run.folder / PICTURES
    pictures.mkdir(exist_ok=True)
    patients = {one.name: one.patient for one in scores.truth.slices}
    line = froc_line("test slices", scores.groups[0].froc, patients, draws=run.settings.draws)
    draw_froc([line], pictures / "froc.png", scores.truth.note)
    write_scores_page(scores, run.folder, f"Scores of {run.folder.name}")
