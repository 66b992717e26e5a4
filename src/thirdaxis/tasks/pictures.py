"""Pictures of a run: its curves, and outlines of truth and prediction on a scan."""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from thirdaxis.atomic import atomic_path
from thirdaxis.data.grid import to_grid
from thirdaxis.data.volume import Volume
from thirdaxis.tasks.page import DARK, LIGHT, LINES, plain_axes

TRUTH, FOUND = "#35d07f", "#ff7a1a"
SAMPLED = 2**20  # grey values that are enough to choose the window
PLANES = ("axial", "coronal", "sagittal")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG whole or not at all, without touching matplotlib's global state."""
    buffer = BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def draw_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draws the curves of a run as a PNG on white; see `curves_figure`."""
    save_figure(curves_figure(history), path)


def curves_figure(history: Sequence[dict[str, float]]) -> Figure:
    """Training loss, validation score and learning rate over the epochs.

    Args:
        history: rows with `epoch`, `train_loss`, `learning_rate` and `val_` and a score (nan where
            not validated).

    Returns:
        The figure; its text has the ink of pages.
    """
    score = next(name for name in history[0] if name.startswith("val_"))
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = {
        "training loss": "train_loss",
        f"validation {score_word(score)}": score,
        "learning rate": "learning_rate",
    }
    names = {title: name for title, name in panels.items() if name in history[0]}
    every = plain_axes(figure, 1, len(names))
    for number, (axes, (title, name)) in enumerate(zip(every, names.items(), strict=True)):
        known = [row for row in history if not math.isnan(row[name])]
        epochs = [row["epoch"] + 1 for row in known]
        mark = "o" if len(known) < 40 else None
        axes.plot(epochs, [row[name] for row in known], color=LINES[number], marker=mark, ms=3)
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def score_word(column: str) -> str:
    """What people call the score of a column such as `val_dice` or `val_auc`."""
    word = column.removeprefix("val_")
    return word.upper() if len(word) < 4 or word == "froc" else word.capitalize()


def draw_overlay(
    image: Volume, prediction: Tensor, truth: Tensor | None, title: str, path: Path
) -> None:
    """Draws the three planes through the labelled structure as a PNG.

    Args:
        image: the scan; its first channel is shown.
        prediction: (D, H, W) label values on the scan's grid.
        truth: the same of the true labels; none where they are not known.
        title: above the picture.
        path: the PNG to write.
    """
    save_figure(overlay_figure(image, prediction, truth, title), path)


def overlay_figure(
    image: Volume, prediction: Tensor, truth: Tensor | None, title: str = ""
) -> Figure:
    """The three planes through the labelled structure, with the outlines of the labels.

    Args:
        image: the scan; its first channel is shown.
        prediction: (D, H, W) label values on the scan's grid.
        truth: the same of the true labels; none where they are not known.
        title: above the picture.

    Returns:
        A dark figure.
    """
    maps = [prediction] if truth is None else [prediction, truth]
    scan = to_grid(Volume(image.array[:1], image.affine), mode="bilinear")
    turned = [to_grid(Volume(labels[None], image.affine)).array[0].numpy() for labels in maps]
    grey = scan.array[0].float().numpy()
    low, high = np.percentile(grey.ravel()[:: max(1, grey.size // SAMPLED)], (1, 99))
    centre = _centre(turned[-1] if turned[-1].any() else turned[0])
    figure = Figure(figsize=(10, 4), layout="constrained", facecolor=DARK)
    if title:
        figure.suptitle(title, color=LIGHT)
    for plane, axes in enumerate(figure.subplots(1, 3)):
        _show(axes, plane, grey, turned, centre, scan.spacing, (float(low), float(high)))
    lines = [Line2D([], [], color=FOUND, label="predicted")]
    if truth is not None:
        lines.append(Line2D([], [], color=TRUTH, linestyle="--", label="true"))
    figure.legend(
        handles=lines, loc="outside lower center", ncols=2, frameon=False, labelcolor=LIGHT
    )
    return figure


def _centre(labels: np.ndarray) -> tuple[int, int, int]:
    """Along each axis the slice that shows most of the labels; the middle where there are none."""
    if not labels.any():
        d, h, w = (size // 2 for size in labels.shape)
    else:
        inside = labels > 0
        d, h, w = (
            int(inside.sum(axis=tuple(other for other in range(3) if other != axis)).argmax())
            for axis in range(3)
        )
    return d, h, w


def _show(
    axes: Axes,
    plane: int,
    grey: np.ndarray,
    maps: Sequence[np.ndarray],
    centre: tuple[int, int, int],
    spacing: Sequence[float],
    window: tuple[float, float],
) -> None:
    picture = np.take(grey, centre[plane], axis=plane)
    rows, columns = (axis for axis in range(3) if axis != plane)
    # Depth runs upwards in the body; the axial plane's rows run from front to back, downwards.
    upwards = rows == 0
    axes.imshow(
        picture,
        cmap="gray",
        vmin=window[0],
        vmax=max(window[1], window[0] + 1e-6),
        origin="lower" if upwards else "upper",
        aspect=spacing[rows] / spacing[columns],
    )
    for labels, colour, style in zip(maps, (FOUND, TRUTH), ("solid", "dashed"), strict=False):
        flat = np.take(labels, centre[plane], axis=plane)
        if min(flat.shape) < 2:
            continue  # across a scan of one slice there is nothing to outline
        for value in sorted(set(np.unique(flat).tolist()) - {0}):
            axes.contour(flat == value, [0.5], colors=[colour], linewidths=1.2, linestyles=style)
    axes.set_title(PLANES[plane], fontsize=9, color=LIGHT)
    axes.set_axis_off()
