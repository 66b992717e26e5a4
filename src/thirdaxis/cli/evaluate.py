"""`thirdaxis evaluate`: label maps, classes, boxes or points of lesions against the truth."""

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from thirdaxis.cli.classified import evaluate_classes
from thirdaxis.cli.detected import evaluate_lesions
from thirdaxis.cli.display import watched
from thirdaxis.cli.located import evaluate_points


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="Folder of label maps, a .csv of classes, a .json of boxes, or a table of points."
        ),
    ],
    truth: Annotated[
        Path,
        typer.Argument(
            help="Folder of true label maps, a data set folder, or a run folder; of boxes a folder "
            "of DeepLesion, its DL_info.csv, or a .csv or .json of boxes."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the results; default: PREDICTIONS."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Other predictions of the same kind, to compare with case by case."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Values to score: 1=liver,2=lesion, or joined: 1+2=liver,2=lesion."),
    ] = None,
    prediction_labels: Annotated[
        str | None, typer.Option(help="The same names, where predictions have other values.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the scans, to draw on; default: the data set's.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Worst cases that are drawn.")] = 8,
    part: Annotated[
        str, typer.Option(help="Boxes: part of DeepLesion, train, val, test or all.")
    ] = "test",
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="Boxes, points: table of boxes or label maps, where TRUTH is a folder of scans."
        ),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Boxes: COCO annotations that name the image ids.")
    ] = None,
    overlap: Annotated[
        str, typer.Option(help="Boxes: iou, or iobb, the share of a found box that is in a true.")
    ] = "iou",
    others: Annotated[
        str,
        typer.Option(help="Boxes, points on images that the truth does not name: refuse, or drop."),
    ] = "refuse",
) -> None:
    """Score predictions of any tool: a table, JSON and a page with pictures.

    Label maps are scored with Dice and HD95; a table of classes (.csv) with AUC, accuracy and their
    like; boxes (.json, thirdaxis' own or COCO results) with FROC and average precision; points in
    volumes (.csv, .json) with FROC. All have intervals.
    """
    from thirdaxis.data.lesions.points import is_points

    if predictions.suffix.lower() in (".csv", ".json") and is_points(predictions):
        evaluate_points(
            predictions,
            truth,
            out,
            against=against,
            images=images,
            boxes=boxes,
            others=others,
            pictures=pictures,
        )
        return
    if predictions.suffix.lower() == ".json":
        evaluate_lesions(
            predictions,
            truth,
            out,
            against=against,
            part=part,
            images=images,
            boxes=boxes,
            annotations=annotations,
            overlap=overlap,
            others=others,
            pictures=pictures,
        )
        return
    if predictions.suffix == ".csv":
        evaluate_classes(predictions, truth, out)
        return
    from thirdaxis.tasks import segment
    from thirdaxis.tasks.scans import find_scans
    from thirdaxis.tasks.segmentation.scores_page import write_scores_page

    scans = find_scans(images) if images else []
    known = {scan.name: scan.images[0] for scan in scans}
    scores = segment.evaluate(
        predictions,
        truth,
        out,
        labels=labels,
        prediction_labels=prediction_labels,
        other=against,
        watch=lambda names: watched(names, "scoring"),
    )
    page = write_scores_page(
        scores,
        out or predictions,
        f"{predictions.resolve().name} against {truth.resolve().name}",
        other="" if against is None else str(against),
        pictures=pictures,
        images=known.get if images else None,
    )
    console = Console(soft_wrap=True)
    console.print(_table(scores.summary(), len(scores.rows)))
    for label, compared in scores.compared.items():
        found = compared["dice"]
        console.print(
            f"{label}: Dice {found.mean:+.4f} against {against} ({found.low:+.4f} to "
            f"{found.high:+.4f}), p = {found.p:.3g} over {found.cases} cases",
            highlight=False,
        )
    if scores.unpredicted:
        console.print(f"{scores.unpredicted} other label maps have no prediction.")
    console.print(f"Each case: {page}", highlight=False)


def _table(summary: dict[str, dict[str, float | int]], cases: int) -> Table:
    table = Table(title=f"{cases} cases")
    table.add_column("label", overflow="fold")
    columns = {
        "Dice, mean of cases": "dice_mean",
        "95 % from": "dice_low",
        "to": "dice_high",
        "Dice, all voxels": "dice_global",
        "HD95 mm, mean": "hd95_mm_mean",
        "HD95 infinite": "hd95_infinite",
        "volume error ml": "volume_error_ml_mean",
    }
    for title in columns:
        table.add_column(title, justify="right")
    for name, column in summary.items():
        if name == "mean":
            table.add_section()
        table.add_row(name, *(_cell(column.get(key, math.nan)) for key in columns.values()))
    return table


def _cell(value: float | int) -> str:
    if isinstance(value, int):
        return str(value)
    return "–" if math.isnan(value) else f"{value:.4f}"
