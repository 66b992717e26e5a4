"""What `predict` and `evaluate` do where a run, or a table of predictions, is of classes."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from thirdaxis.cli.display import say, watched

if TYPE_CHECKING:
    from thirdaxis.tasks.model import Model

SCORES = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "ece": "calibration error",
    "mae": "mean absolute error",
    "rmse": "root mean square error",
    "spearman": "Spearman's rank correlation",
}


def predict_classes(model: "Model", inputs: Path, out: Path, accelerator: str | None) -> None:
    """Writes what a classifier says of scans as CSV; a folder gets `predictions.csv`."""
    from thirdaxis.tasks import classify

    target = out if out.suffix else out / "predictions.csv"
    classify.predict(model, inputs, target, accelerator=accelerator, watch=watched)
    say(str(target))


def evaluate_classes(predictions: Path, against: Path, out: Path | None) -> None:
    """Scores a table of predictions and shows the scores with their intervals."""
    from thirdaxis.tasks import classify

    scores = classify.evaluate(predictions, against, out)
    table = Table(title=f"{len(scores.answers.samples)} samples")
    for head in ("score", "value", "95 % interval"):
        table.add_column(head, justify="left" if head == "score" else "right")
    for name, value in scores.values.items():
        low, high = scores.intervals[name]
        table.add_row(SCORES[name], f"{value:.4f}", f"{low:.4f} to {high:.4f}")
    console = Console(soft_wrap=True)
    console.print(table)
    where = (predictions.parent if out is None else out) / "scores.json"
    console.print(f"Each class: {where}", highlight=False)
