"""The first kernels of a 3D network as a picture, slice by slice."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from thirdaxis.nets.kernels import energy_by_tap, outside_mean
from thirdaxis.tasks.page import DARK, LIGHT
from thirdaxis.tasks.pictures import save_figure

GAP = 1  # voxels between slices; between kernels thrice as many
ACROSS = 4  # kernels beside each other


def kernels_figure(kernels: Tensor, title: str = "", most: int = 64) -> Figure:
    """Kernels, each as a row of its slices, those of most energy first.

    Grey is 0; every kernel is scaled by its own largest weight. Several input channels are summed,
    as a grey volume would see them.

    Args:
        kernels: ``(C_out, C_in, D, H, W)``.
        title: above the picture.
        most: how many are drawn.

    Returns:
        A dark figure that tells the share of energy outside the mean over depth, that of a random
        start, and the share of each tap.

    Raises:
        UsageError: kernels of a 2D network.
    """
    share, taps = outside_mean(kernels), energy_by_tap(kernels)
    summed = kernels.detach().float().sum(1)
    order = summed.square().sum((1, 2, 3)).argsort(descending=True)[:most]
    picture = _tiled(summed[order].numpy())
    depth = len(taps)
    figure = Figure(figsize=(9, 1.2 + 7.5 * picture.shape[0] / picture.shape[1]))
    figure.set_layout_engine("constrained")
    figure.set_facecolor(DARK)
    axes = figure.subplots()
    axes.imshow(picture, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    each = " ".join(f"{100 * part:.0f}" for part in taps)
    told = (
        f"energy outside the mean over depth {share:.3f} (random start {1 - 1 / depth:.3f}); "
        f"by tap {each} %"
    )
    figure.suptitle(f"{title}\n{told}" if title else told, color=LIGHT, fontsize=9)
    return figure


def draw_kernels(kernels: Tensor, path: Path, title: str = "") -> None:
    """Draws kernels as a PNG; see `kernels_figure`.

    Raises:
        UsageError: kernels of a 2D network.
        OSError: the folder is missing, full or not writable.
    """
    save_figure(kernels_figure(kernels, title), path)


def _tiled(kernels: np.ndarray) -> np.ndarray:
    """Kernels ``(K, D, H, W)`` as one picture, -1 to 1, nan between them."""
    count, depth, height, width = kernels.shape
    across = min(ACROSS, count)
    down = math.ceil(count / across)
    wide, high = depth * (width + GAP) + 2 * GAP, height + 3 * GAP
    picture = np.full((down * high, across * wide), np.nan)
    largest = np.abs(kernels).max(axis=(1, 2, 3))
    for number, kernel in enumerate(kernels):
        top, left = number // across * high, number % across * wide
        for tap, cut in enumerate(kernel):
            start = left + tap * (width + GAP)
            picture[top : top + height, start : start + width] = cut / (largest[number] or 1)
    return picture
