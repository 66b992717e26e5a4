"""`thirdaxis evaluate`: Dice and HD95 of label maps against the truth."""

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from thirdaxis.cli.classified import evaluate_classes
from thirdaxis.cli.display import watched


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="Folder of predicted label maps, or a .csv of classes.")
    ],
    against: Annotated[
        Path,
        typer.Argument(help="Folder of true label maps, a data set folder, or a run folder."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for scores.csv and scores.json."),
    ] = None,
) -> None:
    """Score predicted label maps: Dice per case and over all voxels, HD95 in mm.

    A table of predicted classes (.csv) is scored with AUC, accuracy and their like, with intervals.
    """
    if predictions.suffix == ".csv":
        evaluate_classes(predictions, against, out)
        return
    from thirdaxis.tasks import segment

    scores = segment.evaluate(
        predictions, against, out, watch=lambda names: watched(names, "scoring")
    )
    console = Console(soft_wrap=True)
    console.print(_table(scores.summary(), len(scores.rows)))
    if scores.unpredicted:
        console.print(f"{scores.unpredicted} other label maps have no prediction.")
    console.print(f"Each case: {(out or predictions) / 'scores.csv'}", highlight=False)


def _table(summary: dict[str, dict[str, float | int]], cases: int) -> Table:
    table = Table(title=f"{cases} cases")
    table.add_column("label")
    columns = {
        "Dice, mean of cases": "dice_mean",
        "Dice, all voxels": "dice_global",
        "HD95 mm, mean": "hd95_mm_mean",
        "HD95 infinite": "hd95_infinite",
    }
    for title in columns:
        table.add_column(title, justify="right")
    for name, column in summary.items():
        if name == "mean":
            table.add_section()
        table.add_row(name, *(_cell(column[key]) for key in columns.values()))
    return table


def _cell(value: float | int) -> str:
    if isinstance(value, int):
        return str(value)
    return "–" if math.isnan(value) else f"{value:.4f}"
