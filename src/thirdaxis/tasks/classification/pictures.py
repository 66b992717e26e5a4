"""Pictures of a classification run: its epochs, ROC curves, and whether probabilities are true."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thirdaxis.errors import InputError
from thirdaxis.metrics.auc import roc_auc, roc_curve
from thirdaxis.metrics.calibration import Bin, calibration_error, decisions, reliability
from thirdaxis.tasks.classification.evaluate import Scores
from thirdaxis.tasks.pictures import TRUTH, save_figure

BLUE = "#3366cc"


def draw_roc(scores: Scores, path: Path) -> None:
    """Draws a ROC curve of the positive class, of each class against the rest, or of each label.

    Args:
        scores: of classes or labels.
        path: the PNG to write.
    """
    answers, truth = scores.answers.answers, scores.truth
    names = scores.answers.names
    binary = scores.answers.kind == "classes" and len(names) == 2
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    for number, name in enumerate(names):
        if binary and number == 0:
            continue
        there = truth[:, number] == 1 if scores.answers.kind == "labels" else truth == number
        try:
            false_rate, true_rate = roc_curve(answers[:, number], there)
        except InputError:  # a class that none or all of these samples are of
            continue
        auc = roc_auc(answers[:, number], there)
        axes.plot(false_rate, true_rate, label=f"{name}, AUC {auc:.3f}")
    axes.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right", fontsize=8)
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def draw_calibration(scores: Scores, path: Path) -> None:
    """Draws how often decisions (or labels) of like confidence are right.

    Args:
        scores: of classes or labels.
        path: the PNG to write.
    """
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    answers, truth = scores.answers.answers, scores.truth
    if scores.answers.kind == "classes":
        sure, right = decisions(answers, truth)
        _draw_bins(axes, reliability(sure, right), "decisions", BLUE)
        title = f"expected calibration error {calibration_error(sure, right):.3f}"
    else:
        _draw_bins(axes, reliability(answers.reshape(-1), truth.reshape(-1)), "labels", BLUE)
        title = f"expected calibration error {scores.values['ece']:.3f}"
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.01))
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def draw_grades(scores: Scores, path: Path) -> None:
    """Draws answered against true grades.

    Args:
        scores: of grades.
        path: the PNG to write.
    """
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.subplots()
    truth, found = scores.truth, scores.answers.answers
    both = torch.cat([truth, found])
    ends = [float(both.min()), float(both.max())]
    axes.plot(ends, ends, color=TRUTH, linestyle="--", linewidth=1)
    axes.scatter(truth, found, s=8, alpha=0.6, color=BLUE)
    axes.set(xlabel="true grade", ylabel="answer")
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def _draw_bins(axes: Axes, bins: Sequence[Bin], label: str, colour: str) -> None:
    most = max(one.samples for one in bins)
    axes.plot([one.confidence for one in bins], [one.right for one in bins], color=colour)
    axes.scatter(
        [one.confidence for one in bins],
        [one.right for one in bins],
        s=[20 + 100 * one.samples / most for one in bins],
        color=colour,
        label=f"{label} (larger: more)",
    )
    axes.legend(loc="upper left", fontsize=8)
