"""The end of a run that locates lesions: test volumes through the chosen network, and scores."""

from typing import Any

from thirdaxis.atomic import write_text
from thirdaxis.data.lesions.points import Points, point_rows, points_csv, points_json
from thirdaxis.data.lesions.volumes import BoxedVolume
from thirdaxis.data.phantoms.sets import phantom_note
from thirdaxis.data.volume import read_volume
from thirdaxis.tasks.classification.evaluate import json_text
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.froc.page import outcome
from thirdaxis.tasks.froc.plot import draw_froc
from thirdaxis.tasks.keep import HISTORY, read_history, told_epochs
from thirdaxis.tasks.locating.evaluate import Evaluation, Truth, score, write_scores
from thirdaxis.tasks.locating.locator import Locator, load_locator
from thirdaxis.tasks.locating.page import curve_of, shown_points, turned_grey, write_scores_page
from thirdaxis.tasks.locating.pictures import projections
from thirdaxis.tasks.locating.prepare import named
from thirdaxis.tasks.model import keep_model
from thirdaxis.tasks.pictures import draw_curves, save_figure
from thirdaxis.tasks.run_folder import CURVES, METRICS, PICTURES, Run
from thirdaxis.tasks.run_page import recorded_results, write_run_page

POINTS_CSV, POINTS_JSON = "points.csv", "points.json"


def finish(
    run: Run[Any, Any], volumes: tuple[BoxedVolume, ...], shown: Display
) -> dict[str, object]:
    """Scores the chosen network on the test volumes' own grids and draws what it found.

    Args:
        run: a run whose epochs are done.
        volumes: its data set.
        shown: how the run shows itself.

    Returns:
        What `metrics.json` holds: the chosen epoch, its validation FROC, the sensitivities in the
        test volumes with their intervals, steps and time.
    """
    settings, folder = run.settings, run.folder
    history = read_history(folder / HISTORY)
    test = named(volumes, run.test, settings.data)
    locator = load_locator(folder)
    found: dict[str, Points] = {}
    rows: list[dict[str, Any]] = []
    for volume in shown.watch(test, "searching test scans"):
        found[volume.name] = locator.points(locator.heat(read_volume(volume.file)))
        rows += point_rows(volume.name, found[volume.name], volume.grid)
    write_text(folder / POINTS_CSV, points_csv(rows))
    names = [volume.name for volume in test]
    write_text(folder / POINTS_JSON, points_json(rows, names, {"network": settings.network}))
    note = phantom_note(settings.data) or ""
    truth = Truth(tuple(test), f"{folder.name} (test volumes)", note)
    scores = score(truth, found, draws=settings.draws, seed=settings.seed)
    write_scores(scores, folder)
    draw_curves(history, folder / CURVES)
    _draw(run, scores, locator)
    metrics: dict[str, object] = {
        **told_epochs(history, "froc"),
        "training_volumes": len(run.training),
        "training_lesions": run.plan.lesions,
        "validation_volumes": len(run.validation),
        "test_volumes": len(run.test),
        "test_lesions": scores.froc.lesions,
        **scores.plain(),
        **({"note": note} if note else {}),
    }
    write_text(folder / METRICS, json_text(metrics))
    write_run_page(run, recorded_results(folder))
    keep_model(folder)
    low, high = scores.ends.mean
    shown.say(
        f"test volumes: FROC {scores.froc.mean:.4f} (95 % {low:.4f} to {high:.4f}), "
        f"{scores.froc.lesions} lesions in {scores.froc.images} volumes; see {folder}"
        + (f". {note}" if note else "")
    )
    return metrics


def _draw(run: Run[Any, Any], scores: Evaluation, locator: Locator) -> None:
    """The FROC curve, and projections of the worst, the middle and the best volume with lesions."""
    pictures = run.folder / PICTURES
    pictures.mkdir(exist_ok=True)
    draw_froc(
        [curve_of(scores, "test volumes")], pictures / "froc.png", scores.truth.note, "a volume"
    )
    rows = [row for row in scores.volumes if row.lesions]
    chosen = {"worst": rows[0], "middle": rows[len(rows) // 2], "best": rows[-1]}
    for word, row in chosen.items():
        volume = next(one for one in scores.truth.volumes if one.name == row.name)
        heat = locator.heat(read_volume(volume.file))
        figure = projections(
            turned_grey(volume),
            volume.grid.spacing,
            shown_points(scores, row.name),
            volume.boxes,
            heat.array[0].numpy(),
            f"{word}: {outcome(row)} from a score of {scores.threshold:.2f}",
        )
        save_figure(figure, pictures / f"projections-{word}.png")
    write_scores_page(scores, run.folder, f"Scores of {run.folder.name}")
