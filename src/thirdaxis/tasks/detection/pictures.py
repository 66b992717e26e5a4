"""Pictures of lesions: one found in a scan, and boxes found and true on a slice."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from thirdaxis.data.volume import Volume
from thirdaxis.tasks.detection.measure import Lesion
from thirdaxis.tasks.page import DARK, LIGHT
from thirdaxis.tasks.pictures import FOUND, TRUTH

Window = tuple[str, float, float]

SOFT: Window = ("soft tissue", -160.0, 240.0)
LUNG: Window = ("lung", -1350.0, 150.0)
HIT, MISSED = "#4cc9f0", "#ff4d5e"
CLOSE = 32
"""Pixels around a box in a close-up."""


def window_for(values: np.ndarray) -> Window:
    """How a radiologist would look at these HU: air around it is looked at in the lung window."""
    return LUNG if np.median(values) < -400 else SOFT


def lesion_figure(turned: Volume, lesion: Lesion, title: str = "") -> Figure:
    """The key slice of a lesion, a close-up of it, and the two other planes through it.

    Args:
        turned: the scan in HU, turned to `thirdaxis.data.grid.CANONICAL`.
        lesion: found in it.
        title: above the picture.

    Returns:
        A dark figure.
    """
    grey = turned.array[0].numpy()
    dd, hh, ww = lesion.turned
    x1, y1, x2, y2 = lesion.key_box
    across, down = round((x1 + x2) / 2), round((y1 + y2) / 2)
    across, down = min(across, grey.shape[2] - 1), min(down, grey.shape[1] - 1)
    near = grey[
        lesion.key_slice, hh[0] - 4 * (hh[0] > 4) : hh[1] + 5, ww[0] - 4 * (ww[0] > 4) : ww[1] + 5
    ]
    named, low, high = window_for(near)
    step = turned.spacing
    figure = Figure(figsize=(13, 4.1), layout="constrained", facecolor=DARK)
    if title:
        figure.suptitle(title, color=LIGHT)
    panels = figure.subplots(1, 4)
    box = (x1, y1, x2, y2)
    for axes, name in zip(panels[:2], ("axial", "close-up"), strict=True):
        told = f"{name}, slice {lesion.key_slice}"
        _show(axes, grey[lesion.key_slice], (low, high), step[1] / step[2], told)
        _box(axes, box, FOUND)
    _close(panels[1], box, grey.shape[1:])
    sides = {
        f"coronal, row {down}": (grey[:, down], step[0] / step[2], ww),
        f"sagittal, column {across}": (grey[:, :, across], step[0] / step[1], hh),
    }
    for axes, (told, (plane, aspect, along)) in zip(panels[2:], sides.items(), strict=True):
        _show(axes, plane, (low, high), aspect, told, upwards=True)
        _box(axes, (along[0], dd[0], along[1], dd[1]), FOUND)
    figure.text(
        0.995, 0.01, f"{named} window, {low:g} to {high:g} HU", ha="right", color=LIGHT, fontsize=8
    )
    return figure


def slice_figure(
    grey: np.ndarray,
    hits: Sequence[tuple[Sequence[float], float]],
    false: Sequence[tuple[Sequence[float], float]],
    truth: Sequence[Sequence[float]],
    missed: Sequence[Sequence[float]],
    ratio: float = 1.0,
    title: str = "",
) -> Figure:
    """A key slice with what was found, what was missed, and false positives.

    Args:
        grey: ``(H, W)`` HU.
        hits: boxes that hit a lesion, with their scores.
        false: boxes that hit none, with their scores.
        truth: boxes of the lesions that were hit.
        missed: boxes of those that were not.
        ratio: mm from row to row over mm from column to column.
        title: above the picture.

    Returns:
        A dark figure, the whole slice and a close-up of what is worst on it.
    """
    figure = Figure(figsize=(9.2, 4.9), layout="constrained", facecolor=DARK)
    if title:
        figure.suptitle(title, color=LIGHT, fontsize=10)
    first = [*missed, *(box for box, _ in false), *truth, *(box for box, _ in hits)]
    x1, y1, x2, y2 = (round(end) for end in first[0]) if first else (0, 0, *grey.shape[::-1])
    near = grey[max(0, y1 - 4) : y2 + 5, max(0, x1 - 4) : x2 + 5]
    named, low, high = window_for(near if near.size else grey)
    panels = figure.subplots(1, 2)
    for axes, name in zip(panels, ("whole slice", "close-up"), strict=True):
        _show(axes, grey, (low, high), ratio, name)
        for box in truth:
            _box(axes, box, TRUTH, "--")
        for box in missed:
            _box(axes, box, MISSED, "--")
        for boxes, colour in ((hits, HIT), (false, FOUND)):
            for box, score in boxes:
                _box(axes, box, colour, told=f"{score:.2f}")
    if first:
        _close(panels[1], first[0], grey.shape)
    kinds = {
        "lesion, hit": (TRUTH, "--", truth),
        "lesion, missed": (MISSED, "--", missed),
        "hit": (HIT, "-", hits),
        "false positive": (FOUND, "-", false),
    }
    lines = [
        Line2D([], [], color=colour, linestyle=style, label=name)
        for name, (colour, style, these) in kinds.items()
        if len(these)
    ]
    if lines:
        figure.legend(
            handles=lines, loc="outside lower center", ncols=4, frameon=False, labelcolor=LIGHT
        )
    return figure


def _show(
    axes: Axes,
    plane: np.ndarray,
    window: tuple[float, float],
    aspect: float,
    told: str,
    *,
    upwards: bool = False,
) -> None:
    axes.imshow(
        plane,
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        aspect=aspect,
        origin="lower" if upwards else "upper",
        interpolation="nearest",
    )
    axes.set_title(told, fontsize=9, color=LIGHT)
    axes.set_axis_off()


def _box(axes: Axes, box: Sequence[float], colour: str, style: str = "-", told: str = "") -> None:
    """Outlines whole pixels: both ends of a box are inside."""
    x1, y1, x2, y2 = box
    frame = Rectangle(
        (x1 - 0.5, y1 - 0.5),
        x2 - x1 + 1,
        y2 - y1 + 1,
        fill=False,
        edgecolor=colour,
        linestyle=style,
        linewidth=1.3,
    )
    axes.add_patch(frame)
    if told:
        text = axes.text(x1, y1 - 1.5, told, color=colour, fontsize=9, va="bottom", clip_on=True)
        text.set_path_effects([withStroke(linewidth=2, foreground=DARK)])


def _close(axes: Axes, box: Sequence[float], shape: Sequence[int]) -> None:
    x1, y1, x2, y2 = box
    half = max(x2 - x1, y2 - y1) / 2 + CLOSE
    across, down = (x1 + x2) / 2, (y1 + y2) / 2
    axes.set_xlim(max(-0.5, across - half), min(shape[1] - 0.5, across + half))
    axes.set_ylim(min(shape[0] - 0.5, down + half), max(-0.5, down - half))
