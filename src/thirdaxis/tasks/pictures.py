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
from torch import Tensor

from thirdaxis.atomic import atomic_path
from thirdaxis.data.grid import to_grid
from thirdaxis.data.volume import Volume

TRUTH, FOUND = "#35d07f", "#ff7a1a"
PLANES = ("axial", "coronal", "sagittal")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG whole or not at all, without touching matplotlib's global state."""
    buffer = BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def draw_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draws training loss and validation Dice over the epochs.

    Args:
        history: rows with `epoch`, `train_loss` and `val_dice` (nan where not validated).
        path: the PNG to write.
    """
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    loss_axes, dice_axes = figure.subplots(1, 2)
    epochs = [row["epoch"] + 1 for row in history]
    loss_axes.plot(epochs, [row["train_loss"] for row in history], color="#3366cc")
    loss_axes.set(xlabel="epoch", ylabel="training loss")
    scored = [row for row in history if not math.isnan(row["val_dice"])]
    dice_axes.plot(
        [row["epoch"] + 1 for row in scored],
        [row["val_dice"] for row in scored],
        marker="o",
        markersize=3,
        color=FOUND,
    )
    dice_axes.set(xlabel="epoch", ylabel="validation Dice", ylim=(0, 1))
    for axes in (loss_axes, dice_axes):
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def draw_overlay(
    image: Volume, prediction: Tensor, truth: Tensor | None, title: str, path: Path
) -> None:
    """Draws the three planes through the labelled structure, with the outlines of the labels.

    Args:
        image: the scan; its first channel is shown.
        prediction: (D, H, W) label values on the scan's grid.
        truth: the same of the true labels; none where they are not known.
        title: above the picture.
        path: the PNG to write.
    """
    maps = [prediction] if truth is None else [prediction, truth]
    scan = to_grid(image, mode="bilinear")
    turned = [to_grid(Volume(labels[None], image.affine)).array[0].numpy() for labels in maps]
    grey = scan.array[0].float().numpy()
    low, high = np.percentile(grey, (1, 99))
    centre = _centre(turned[-1] if turned[-1].any() else turned[0])
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    for plane, axes in enumerate(figure.subplots(1, 3)):
        _show(axes, plane, grey, turned, centre, scan.spacing, (low, high))
    lines = [Line2D([], [], color=FOUND, label="predicted")]
    if truth is not None:
        lines.append(Line2D([], [], color=TRUTH, linestyle="--", label="true"))
    figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, path)


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
        for value in sorted(set(np.unique(flat).tolist()) - {0}):
            axes.contour(flat == value, [0.5], colors=[colour], linewidths=1.2, linestyles=style)
    axes.set_title(PLANES[plane], fontsize=9)
    axes.set_axis_off()
