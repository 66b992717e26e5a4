"""A trained lesion detector run on whole scans: every slice as a key slice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.tv_tensors import Mask

from thirdaxis.data.grid import CANONICAL, to_grid
from thirdaxis.data.volume import Volume
from thirdaxis.errors import InputError
from thirdaxis.nets.lesion.detector import LesionDetector
from thirdaxis.tasks.detection.augment import fitted, to_sides
from thirdaxis.tasks.detection.measure import Boxes, mask_diameters
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.detection.slab import (
    Answer,
    Looking,
    check_slab,
    through_slabs,
    through_windows,
)
from thirdaxis.tasks.detection.stacks import Mix, depth_grid, mixed, mixes_around
from thirdaxis.tasks.hardware import autocast
from thirdaxis.tasks.model import Model, load_model
from thirdaxis.tasks.progress import Told, tell_nobody


@dataclass(frozen=True, eq=False)
class Finder:
    """A trained detector and all it needs to be run on scans."""

    net: LesionDetector
    settings: DetectSettings
    plan: DetectPlan
    device: torch.device

    def turned(self, scan: Volume) -> Volume:
        """A scan as the detector looks at it, slice after slice upwards.

        Raises:
            InputError: several channels.
        """
        if scan.array.shape[0] != 1:
            raise InputError(f"has {scan.array.shape[0]} channels, expected a CT with one")
        return to_grid(scan, CANONICAL)

    def __call__(self, turned: Volume, how: Looking, told: Told = tell_nobody) -> Boxes:
        """Finds boxes on every slice.

        Args:
            turned: a scan in HU, from `turned`.
            how: to go through it.
            told: called with the slices done, and their number.

        Returns:
            Boxes in pixels of the turned scan's slices.

        Raises:
            UsageError: slabs are asked for, and the network cannot run on them.
        """
        answers = {}
        count = turned.shape[0]
        with torch.no_grad(), autocast(self.settings.precision, self.device):
            for number, (key, answer) in enumerate(self._answers(turned, how), 1):
                answers[key] = self._on_slice(answer, turned)
                told(number, count)
        keys = sorted(answers)
        boxes, scores, diameters = zip(*(answers[key] for key in keys), strict=True)
        return Boxes(
            np.repeat(keys, [len(one) for one in boxes]),
            np.concatenate(boxes),
            np.concatenate(scores),
            np.concatenate(diameters) if self.plan.masks else None,
        )

    def _answers(self, turned: Volume, how: Looking) -> Iterator[Answer]:
        plan, spacing = self.plan, turned.spacing[0]
        interval, thickness = plan.neighbours(spacing)
        count = turned.shape[0]
        if how.mode == "windows":
            legacy = self.settings.legacy
            stacks = mixes_around(count, plan.seen, spacing, interval, legacy)
            yield from through_windows(
                self.net, lambda some: self._prepared(turned, some), stacks, thickness, how.batch
            )
            return
        check_slab(self.net)
        grid = depth_grid(count, spacing, interval)
        users: dict[int, list[int]] = {}
        for key, place in enumerate(grid.nearest):
            users.setdefault(place, []).append(key)
        for place, answer in through_slabs(
            self.net,
            lambda some: self._prepared(turned, [grid.mixes[number] for number in some]),
            len(grid.mixes),
            sorted(users),
            thickness,
            how,
            plan.seen,
        ):
            yield from ((key, answer) for key in users[place])

    def _prepared(self, turned: Volume, some: Sequence[Mix]) -> Tensor:
        """Slices ``(M, 1, 1, H, W)`` as the network was trained on them."""
        plan = self.plan
        grey = plan.grey_of(mixed(turned.array[0], some))
        height, width = turned.shape[1:]
        nothing = to_sides(torch.zeros(0, 4), (height, width))
        masks = Mask(torch.zeros(0, height, width, dtype=torch.uint8))
        scale = plan.scale(height, width)
        grey, _, _ = fitted(grey, nothing, masks, scale, plan.side, plan.grey[0])
        return grey[:, None, None].to(self.device)

    def _on_slice(
        self, answer: dict[str, Tensor], turned: Volume
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes, scores and diameters of masks in mm, of a slice's own pixels."""
        height, width = turned.shape[1:]
        scale = self.plan.scale(height, width)
        ends = np.array([0.0, 0.0, 1.0, 1.0])
        boxes = (answer["boxes"].float().cpu().numpy() + ends) / scale - ends
        boxes = np.clip(boxes, 0, np.array([width, height] * 2) - 1.0)
        diameters = np.full((len(boxes), 2), np.nan)
        if self.plan.masks:
            step = [one / scale for one in turned.spacing[1:]]
            masks = answer["masks"].cpu().numpy()
            diameters = np.array([mask_diameters(one, step) for one in masks]).reshape(-1, 2)
        return boxes, answer["scores"].float().cpu().numpy(), diameters


def load_finder(
    path: str | Path | Model, accelerator: str | None = None, *, trust: bool = False
) -> Finder:
    """Loads a network trained to find lesions.

    Args:
        path: a run folder, or a trained model in any form that `load_model` reads.
        accelerator: `auto`, `cpu` or `gpu`; none takes the run's own.
        trust: whether a program that the model names as its network may be called.

    Raises:
        InputError: not a trained model, or one of another task.
    """
    model = load_model(path, task="detect", trust=trust)
    settings, plan = model.settings, model.plan
    assert isinstance(settings, DetectSettings) and isinstance(plan, DetectPlan)
    assert isinstance(model.net, LesionDetector)
    return Finder(model.net, settings, plan, model.moved(accelerator))
