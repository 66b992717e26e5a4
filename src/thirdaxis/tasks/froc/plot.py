"""FROC curves with the intervals they could have come out in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from thirdaxis.metrics.froc import RATES, Froc, FrocIntervals, froc_intervals
from thirdaxis.tasks.page import INK, LINES, plain_axes
from thirdaxis.tasks.pictures import save_figure

SHOWN = 2.0 ** np.linspace(-3, 4, 57)
"""False positives an image at which curves are drawn: 0.125 to 16, eight to a doubling."""
LOW = (0.01, 0.05, 0.25, 1.0, 4.0, 16.0)
"""Ticks where curves begin lower."""


@dataclass(frozen=True)
class Line:
    """A curve to be drawn.

    Args:
        name: in the legend.
        scored: its matched detections.
        ends: its intervals at `rates`; none draws no band.
        rates: false positives an image at which it is drawn.
    """

    name: str
    scored: Froc
    ends: FrocIntervals | None = None
    rates: np.ndarray = field(default_factory=SHOWN.copy)


def froc_line(
    name: str,
    scored: Froc,
    patients: dict[str, str] | None = None,
    *,
    draws: int = 500,
    rates: np.ndarray = SHOWN,
) -> Line:
    """A curve with its 95 % band, by patients drawn again.

    Args:
        name: in the legend.
        scored: by `froc`.
        patients: image -> patient; none draws no band.
        draws: behind the band.
        rates: false positives an image at which it is drawn.

    Raises:
        InputError: an image without a patient.
    """
    if patients is None:
        return Line(name, scored, rates=rates)
    ends = froc_intervals(scored, patients, rates=rates.tolist(), draws=draws)
    return Line(name, scored, ends, rates)


def froc_figure(lines: Sequence[Line], title: str = "", what: str = "an image") -> Figure:
    """Sensitivity against false positives an image, which double or more from tick to tick.

    Args:
        lines: curves, in the colours of pages, over and over where there are many.
        title: above the picture, such as the note of a set of phantoms.
        what: an image is called.

    Returns:
        A figure whose text has the ink of pages.
    """
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    (axes,) = plain_axes(figure)
    for number, line in enumerate(lines):
        colour = LINES[number % len(LINES)]
        style = ("-", "--", ":")[number // len(LINES) % 3]
        label = f"{line.name}, mean {line.scored.mean:.3f}"
        axes.plot(
            line.rates, line.scored.sensitivity_at(line.rates), style, color=colour, label=label
        )
        if line.ends is not None:
            low, high = zip(*(line.ends.at[rate] for rate in line.rates.tolist()), strict=True)
            axes.fill_between(line.rates, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    if min(line.rates[0] for line in lines) < SHOWN[0]:
        axes.set_xticks(LOW, [f"{rate:g}" for rate in LOW])
    else:
        named = ["1/8", "1/4", "1/2", *(f"{rate:g}" for rate in RATES[1:])]
        axes.set_xticks([0.125, 0.25, *RATES], named)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=f"false positives {what}", ylabel="sensitivity", ylim=(0, 1.01))
    if title:
        axes.set_title(title, fontsize=8, wrap=True)
    axes.legend(loc="best", fontsize=8, framealpha=0, labelcolor=INK)
    return figure


def draw_froc(lines: Sequence[Line], path: Path, title: str = "", what: str = "an image") -> None:
    """Draws FROC curves as a PNG on white; see `froc_figure`.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    save_figure(froc_figure(lines, title, what), path)
