"""A run of lesion detection on stand-ins for its data: one step of training, one prediction."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from thirdaxis.data.lesions.key_slice import KeySlice, LesionSet
from thirdaxis.tasks.detection.cases import slices_of
from thirdaxis.tasks.detection.network import make_lesion_detector
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.run import DETECT
from thirdaxis.tasks.detection.settings import DetectSettings

SLICES = 6
SIDE = 32
SPACING = (5.0, 0.8, 0.8)


class Trunk(nn.Module):
    """A detector up to the map that its heads share, whose work does not depend on the image."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        """The shared map of (N, 1, D, H, W); of a pyramid's maps the finest."""
        thickness = images.new_full((len(images),), 2.0)
        levels = self.detector.levels(images, thickness)  # type: ignore[operator]
        maps = self.detector.flat(levels)  # type: ignore[operator]
        return maps[0] if isinstance(maps, list) else maps


def network_of(settings: DetectSettings) -> tuple[nn.Module, tuple[int, int, int]]:
    """The network of a run as it would be, and the size of what it sees."""
    plan = DetectPlan.of(settings)
    net = make_lesion_detector(settings, plan, load=False).net
    return Trunk(net), (plan.seen, plan.side, plan.side)


def small_of(net: nn.Module, size: tuple[int, int, int]) -> tuple[int, int, int]:
    """The size of stand-ins: all slices, as they belong to the network."""
    return size[0], min(SIDE, size[1]), min(SIDE, size[2])


def stand_ins(side: int, window: tuple[float, float]) -> LesionSet:
    """Key slices of noise with a bright square each, of as many patients."""

    def read(one: KeySlice, depth: int, interval: float | None) -> np.ndarray:
        random = np.random.default_rng(int(one.name.rpartition("/")[2]))
        found = random.uniform(*window, (depth, side, side)).astype(np.float32)
        found[:, side // 4 : side // 2, side // 4 : side // 2] = window[1]
        return found

    def masks(one: KeySlice) -> np.ndarray:
        found = np.zeros((1, side, side), bool)
        found[:, side // 4 : side // 2, side // 4 : side // 2] = True
        return found

    ends = [side / 4, side / 4, side / 2 - 1, side / 2 - 1]
    parts = ("train",) * (SLICES - 2) + ("val", "test")
    slices = tuple(
        KeySlice(
            f"stand-in/{number}",
            f"patient {number}",
            torch.tensor([ends]),
            (side, side),
            SPACING,
            split=part,
        )
        for number, part in enumerate(parts)
    )
    return LesionSet(slices, read, "stand-ins", masks)


def step(settings: DetectSettings, size: tuple[int, int, int], root: Path) -> tuple[float, str]:
    """Trains one step on stand-ins and looks at a held-out one.

    Args:
        settings: of the run, made small.
        size: (d, h, w) that the network sees.
        root: not needed, as stand-ins are not written.

    Returns:
        The loss, and the answer in words.
    """
    side = size[-1]
    settings = settings.model_copy(
        update={"size": side, "scales": None, "official": True, "warmup": 0.0}
    )
    lesions = stand_ins(side, settings.window)
    first = DETECT.first_step(settings, lesions, root)
    sample = slices_of(lesions, first.run.test, settings, first.run.plan).sample(0)
    with torch.no_grad():
        (answer,) = first.module.net.eval()(sample["image"][None], sample["thickness"][None])
    return first.loss, f"{len(answer['boxes'])} boxes"
