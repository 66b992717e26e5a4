"""A comparison as a picture: points with deviations, or curves with bands."""

import math

import numpy as np
from matplotlib.figure import Figure

from thirdaxis.tasks.comparison.compare import Comparison, Row
from thirdaxis.tasks.page import INK, LINES, plain_axes

STYLES = ("-", "--", ":")


def comparison_figure(found: Comparison) -> Figure:
    """Means with the standard deviation over runs, and every run as a small dot.

    Args:
        found: with a curve its setting is along x, and the deviations are bands.

    Returns:
        A figure whose text has the ink of pages.
    """
    return _points(found) if found.curve is None else _curves(found, found.curve)


def _points(found: Comparison) -> Figure:
    rows = found.rows
    figure = Figure(figsize=(7.2, 1.3 + 0.42 * len(rows)), layout="constrained")
    (axes,) = plain_axes(figure)
    for number, row in enumerate(rows):
        colour = LINES[number % len(LINES)]
        axes.plot(row.values, [number] * len(row.values), ".", color=colour, alpha=0.45, ms=6)
        bar = 0.0 if math.isnan(row.sd) else row.sd
        axes.errorbar(row.mean, number, xerr=bar, fmt="o", color=colour, capsize=4, ms=6)
    axes.set_yticks(range(len(rows)), [_short(row.group.label) for row in rows])
    axes.set(xlabel=f"{found.score}: mean and standard deviation over runs")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _curves(found: Comparison, setting: str) -> Figure:
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    (axes,) = plain_axes(figure)
    lines: dict[str, list[Row]] = {}
    for row in found.rows:
        lines.setdefault(row.group.label, []).append(row)
    for number, (label, rows) in enumerate(lines.items()):
        colour = LINES[number % len(LINES)]
        style = STYLES[number // len(LINES) % len(STYLES)]
        at = [_place(row) for row in rows]
        means = np.array([row.mean for row in rows])
        spread = np.nan_to_num([row.sd for row in rows])
        axes.plot(at, means, style, marker="o", ms=4, color=colour, label=_short(label, 48))
        axes.fill_between(at, means - spread, means + spread, color=colour, alpha=0.15, lw=0)
        dots = [(x, value) for x, row in zip(at, rows, strict=True) for value in row.values]
        axes.plot(*zip(*dots, strict=True), ".", color=colour, alpha=0.45, ms=4)
    places = sorted({_place(row) for row in found.rows})
    if len(places) <= 10:
        axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set(xlabel=setting, ylabel=found.score)
    axes.legend(loc="best", fontsize=8, framealpha=0, labelcolor=INK)
    return figure


def _place(row: Row) -> float:
    assert row.at is not None
    return row.at


def _short(label: str, most: int = 40) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"
