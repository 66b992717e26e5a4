"""What `predict` and `evaluate` do where a run, or a file of detections, is of lesions."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from thirdaxis.cli.display import say, two_bars, watched
from thirdaxis.cli.faults import tell_failures

if TYPE_CHECKING:
    from thirdaxis.metrics.froc_paired import FrocDifference
    from thirdaxis.tasks.detection.evaluate import Evaluation
    from thirdaxis.tasks.model import Model

RATES = ("0.5", "1", "2", "4", "8", "16")


def predict_lesions(
    model: "Model",
    inputs: Path,
    out: Path,
    accelerator: str | None,
    *,
    mode: str,
    score: float,
    gap: float,
    margin: float | None,
    pictures: int,
    overwrite: bool,
) -> None:
    """Finds lesions in scans: a folder for each, and tables of all."""
    from thirdaxis.tasks import detect

    linking = detect.Linking(gap=gap, score=score, member=min(0.1, score))
    with two_bars("scans", "slices") as (watch, told):
        done = detect.predict(
            model,
            inputs,
            out,
            detect.Looking(mode),
            linking,
            pictures=pictures,
            margin=margin,
            overwrite=overwrite,
            accelerator=accelerator,
            watch=watch,
            told=told,
            say=say,
        )
    tell_failures(done.failed.values())


def evaluate_lesions(
    detections: Path,
    truth: Path,
    out: Path | None,
    *,
    against: Path | None,
    part: str,
    images: Path | None,
    boxes: Path | None,
    annotations: Path | None,
    overlap: str,
    others: str,
    pictures: int,
) -> None:
    """Scores a file of detections and shows the FROC of each group."""
    from thirdaxis.tasks import detect

    wanted = detect.find_truth(truth, part, images, boxes)
    found, unmentioned, left_out = detect.read_found(detections, wanted, annotations, others)
    other = None
    if against is not None:
        other = detect.read_found(against, wanted, annotations, others)[0]
    scores = detect.score(
        wanted, found, other, overlap=overlap, unmentioned=unmentioned, left_out=left_out
    )
    folder = detections.parent if out is None else out
    detect.write_scores(scores, folder)
    page = detect.write_scores_page(
        scores,
        folder,
        f"{detections.name} against {truth.resolve().name}",
        other="" if against is None else str(against),
        pictures=pictures,
        watch=lambda rows: watched(rows, "drawing"),
    )
    _print(scores, against, page)


def _print(scores: "Evaluation", against: Path | None, page: Path) -> None:
    every = scores.groups[0].froc
    table = Table(
        title=f"{every.lesions} lesions on {every.images} images; their share that is found at "
        "so many false positives an image",
        padding=0,
    )
    for head in ("group", "lesions", "FROC", "95 %", *RATES):
        table.add_column(head, justify="left" if head == "group" else "right")
    for group in scores.groups:
        low, high = group.ends.mean
        table.add_row(
            group.name,
            str(group.froc.lesions),
            f"{group.froc.mean:.3f}",
            f"{low:.3f}–{high:.3f}",
            *(f"{value:.3f}" for value in group.froc.sensitivity_at()),
        )
    console = Console(soft_wrap=True)
    console.print(table)
    if scores.precision:
        shown = ", ".join(f"{name.upper()} {value:.4f}" for name, value in scores.precision.items())
        console.print(f"COCO: {shown}", highlight=False)
    print_difference(console, scores.difference, against)
    if scores.truth.note:
        console.print(scores.truth.note, highlight=False)
    if scores.unmentioned:
        console.print(f"{scores.unmentioned} images have no entry in the detections.")
    if scores.left_out:
        console.print(f"{scores.left_out} images of the detections were dropped.")
    for line in scores.truth.left_out[:3]:
        console.print(f"left out: {line}", highlight=False)
    console.print(f"Each image: {page}", highlight=False)


def print_difference(
    console: Console, apart: "FrocDifference | None", against: Path | None
) -> None:
    """How far a FROC is above another, where there is another."""
    if apart is not None:
        console.print(
            f"FROC {apart.mean:+.4f} against {against} ({apart.low:+.4f} to {apart.high:+.4f}), "
            f"p = {apart.p:.3g} over {apart.patients} patients",
            highlight=False,
        )
