"""Maximum-intensity projections of a volume and its heat map, with points and boxes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from thirdaxis.data.lesions.points import Points
from thirdaxis.metrics.boxes import contains
from thirdaxis.tasks.page import DARK, LIGHT
from thirdaxis.tasks.pictures import FOUND, PLANES, SAMPLED, TRUTH

HIT, MISSED = "#4cc9f0", "#ff4d5e"


def projections(
    grey: np.ndarray,
    spacing: Sequence[float],
    found: Points,
    truth: np.ndarray,
    heat: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """What is highest along each axis, of the volume above and of the heat map below.

    Boxes of lesions that a point lies in and those of missed ones, points that hit and false
    positives have their own colours.

    Args:
        grey: (D, H, W), a volume turned to axial slices.
        spacing: mm along it.
        found: the points to show.
        truth: (L, 6) boxes.
        heat: (D, H, W); none shows the volume alone.
        title: above the picture.

    Returns:
        A dark figure.
    """
    fits = contains(found.places.reshape(-1, 3), truth.reshape(-1, 6))
    hit, right = (np.atleast_1d(fits.any(axis=axis)) for axis in (0, 1))
    rows = [("volume", grey, _window(grey))]
    if heat is not None:
        rows.append(("heat map", heat, (0.0, max(float(heat.max()), 1e-6))))
    figure = Figure(figsize=(11, 3.9 * len(rows)), layout="constrained", facecolor=DARK)
    if title:
        figure.suptitle(title, color=LIGHT, fontsize=10)
    panels = figure.subplots(len(rows), 3, squeeze=False)
    for line, (name, array, window) in zip(panels, rows, strict=True):
        for along, axes in enumerate(line):
            _show(axes, array.max(axis=along), along, spacing, window)
            axes.set_title(f"{name}, {PLANES[along]}", fontsize=9, color=LIGHT)
            for box, is_hit in zip(truth, hit, strict=True):
                _box(axes, box, along, TRUTH if is_hit else MISSED)
            for place, score, is_right in zip(found.places, found.scores, right, strict=True):
                _point(axes, place, along, HIT if is_right else FOUND, f"{score:.2f}")
    kinds = [
        ("lesion, found", TRUTH, "--", "", hit.any()),
        ("lesion, missed", MISSED, "--", "", not hit.all()),
        ("point in a lesion", HIT, "", "+", right.any()),
        ("false positive", FOUND, "", "+", not right.all()),
    ]
    lines = [
        Line2D([], [], color=colour, linestyle=style, marker=mark, label=name)
        for name, colour, style, mark, there in kinds
        if there
    ]
    if lines:
        figure.legend(
            handles=lines, loc="outside lower center", ncols=4, frameon=False, labelcolor=LIGHT
        )
    return figure


def _window(grey: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(grey.ravel()[:: max(1, grey.size // SAMPLED)], (1, 99.8))
    return float(low), max(float(high), float(low) + 1e-6)


def _show(
    axes: Axes,
    picture: np.ndarray,
    along: int,
    spacing: Sequence[float],
    window: tuple[float, float],
) -> None:
    rows, columns = (axis for axis in range(3) if axis != along)
    axes.imshow(
        picture,
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        origin="lower" if rows == 0 else "upper",  # depth runs upwards in the body
        aspect=spacing[rows] / spacing[columns],
        interpolation="nearest",
    )
    axes.set_axis_off()


def _box(axes: Axes, box: np.ndarray, along: int, colour: str) -> None:
    rows, columns = (axis for axis in range(3) if axis != along)
    width, height = box[3 + columns] - box[columns], box[3 + rows] - box[rows]
    axes.add_patch(
        Rectangle(
            (box[columns], box[rows]),
            width,
            height,
            fill=False,
            edgecolor=colour,
            linestyle="--",
            linewidth=1.2,
        )
    )


def _point(axes: Axes, place: np.ndarray, along: int, colour: str, told: str) -> None:
    rows, columns = (axis for axis in range(3) if axis != along)
    axes.plot([place[columns]], [place[rows]], "+", color=colour, markersize=9)
    axes.annotate(
        told,
        (float(place[columns]), float(place[rows])),
        (4, 4),
        textcoords="offset points",
        color=colour,
        fontsize=7,
        annotation_clip=True,
    )
