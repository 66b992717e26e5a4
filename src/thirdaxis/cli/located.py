"""What `predict` and `evaluate` do where a run, or a table of points, is of heat maps."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from thirdaxis.cli.detected import print_difference
from thirdaxis.cli.display import say, two_bars, watched
from thirdaxis.cli.faults import tell_failures
from thirdaxis.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from thirdaxis.tasks.locating.evaluate import Evaluation
    from thirdaxis.tasks.model import Model

OTHERS = ("refuse", "drop")


def predict_points(
    model: "Model",
    inputs: Path,
    out: Path,
    accelerator: str | None,
    *,
    score: float | None,
    overlap: float | None,
    heat_map: bool,
    picture: bool,
    overwrite: bool,
) -> None:
    """Finds points in scans: a folder for each, and tables of all."""
    from thirdaxis.tasks import locate

    with two_bars("scans", "windows") as (watch, told):
        done = locate.predict(
            model,
            inputs,
            out,
            least=score,
            overlap=overlap,
            heat_map=heat_map,
            picture=picture,
            overwrite=overwrite,
            accelerator=accelerator,
            watch=watch,
            told=told,
            say=say,
        )
    tell_failures(done.failed.values())


def evaluate_points(
    points: Path,
    truth: Path,
    out: Path | None,
    *,
    against: Path | None,
    images: Path | None,
    boxes: Path | None,
    others: str,
    pictures: int,
) -> None:
    """Scores a table of points and shows its FROC."""
    from thirdaxis.tasks import locate

    if others not in OTHERS:
        raise UsageError(f"others: no {others!r}{did_you_mean(others, OTHERS)}")
    wanted = locate.find_truth(truth, images, boxes)
    found, dropped = locate.read_points(points, wanted.volumes, others=others)  # type: ignore[arg-type]
    other = None
    if against is not None:
        other = locate.read_points(against, wanted.volumes, others=others)[0]  # type: ignore[arg-type]
    scores = locate.score(wanted, found, other, dropped=dropped)
    folder = points.parent if out is None else out
    locate.write_scores(scores, folder)
    page = locate.write_scores_page(
        scores,
        folder,
        f"{points.name} against {truth.resolve().name}",
        other="" if against is None else str(against),
        pictures=pictures,
        watch=lambda rows: watched(rows, "drawing"),
    )
    _print(scores, against, page)


def _print(scores: "Evaluation", against: Path | None, page: Path) -> None:
    told = scores.froc
    table = Table(title=f"{told.lesions} lesions in {told.images} volumes")
    for head in ("false positives a volume", "lesions found", "95 %"):
        table.add_column(head, justify="right")
    values = scores.froc.sensitivity_at(tuple(scores.ends.at))
    for (rate, (low, high)), value in zip(scores.ends.at.items(), values, strict=True):
        table.add_row(f"{rate:g}", f"{value:.3f}", f"{low:.3f}–{high:.3f}")
    console = Console(soft_wrap=True)
    console.print(table)
    low, high = scores.ends.mean
    console.print(
        f"FROC {told.mean:.3f} ({low:.3f} to {high:.3f}), the mean at 0.5, 1, 2 and 4",
        highlight=False,
    )
    print_difference(console, scores.difference, against)
    if scores.truth.note:
        console.print(scores.truth.note, highlight=False)
    if scores.dropped:
        console.print(f"{scores.dropped} points in other volumes were dropped.")
    console.print(f"Each volume: {page}", highlight=False)
