"""Pretraining by classification on stand-ins: one step of training, one picture named."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from thirdaxis.data.photographs.parts import read_photographs
from thirdaxis.tasks.pretraining.classify.data import HeldViews
from thirdaxis.tasks.pretraining.classify.network import make_pretrainee
from thirdaxis.tasks.pretraining.classify.run import PRETRAIN_CLASSIFY
from thirdaxis.tasks.pretraining.classify.settings import ClassifyPretrainSettings

CLASSES = 1000
"""Of ImageNet, where the settings do not say."""
NAMES, OF_EACH = ("bright", "dark"), 4
SMALL = 48


class Flattened(nn.Module):
    """A 2D network that takes pictures as volumes of three slices, to be counted as one.

    Args:
        net: takes (N, 3, H, W).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, volume: Tensor) -> Tensor:
        """Answers to (N, 1, 3, H, W)."""
        return self.net(volume.squeeze(1))


def write_data(root: Path, side: int) -> None:
    """Writes bright and dark noise as JPEG, a folder of either."""
    random = np.random.default_rng(0)
    for name, level in zip(NAMES, (180, 60), strict=True):
        (root / name).mkdir()
        for number in range(OF_EACH):
            pixels = random.normal(level, 20, (side, side, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.jpg")


def network_of(settings: ClassifyPretrainSettings) -> tuple[nn.Module, tuple[int, int, int]]:
    """The network of a run as it would be, and the size of what it sees as a volume."""
    net = make_pretrainee(settings, settings.classes or CLASSES, load=False).net
    return net if settings.in_3d else Flattened(net), (3, settings.size, settings.size)


def small_of(net: nn.Module, size: tuple[int, int, int]) -> tuple[int, int, int]:
    """The size of stand-ins, on which the last of five halvings leaves 2 × 2 places: a batch norm
    over two values in all would send the step astray.
    """
    depth, height, width = size
    return depth, min(height, SMALL), min(width, SMALL)


def step(
    settings: ClassifyPretrainSettings, size: tuple[int, int, int], root: Path
) -> tuple[float, str]:
    """Trains one step on stand-ins and names a held-out one.

    Args:
        settings: of the run, made small.
        size: (3, h, w) of what the network sees.
        root: an empty folder, for the stand-ins.

    Returns:
        The loss, and the answer in words.
    """
    told = {"data": str(root), "validation": None, "size": size[1], "classes": len(NAMES)}
    settings = settings.model_copy(update=told)
    write_data(root, 2 * settings.size)
    parts = read_photographs(settings.data, folds=2)
    first = PRETRAIN_CLASSIFY.first_step(settings, parts, root)
    with torch.no_grad():
        answer = first.module.eval()(HeldViews(parts[1], settings)[0]["image"][None]).softmax(1)[0]
    shown = zip(NAMES, answer.tolist(), strict=True)
    return first.loss, ", ".join(f"{name} {value:.3f}" for name, value in shown)
