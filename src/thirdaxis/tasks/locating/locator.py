"""A trained network on a scan in any grid: its heat map there, and points at the peaks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thirdaxis.data.grid import onto, turned_grid
from thirdaxis.data.lesions.points import Points
from thirdaxis.data.volume import Volume
from thirdaxis.tasks.hardware import autocast
from thirdaxis.tasks.locating.peaks import peaks, window_voxels
from thirdaxis.tasks.locating.plan import LocatePlan, preprocessing
from thirdaxis.tasks.locating.prepare import check_channels
from thirdaxis.tasks.locating.settings import LocateSettings
from thirdaxis.tasks.locating.targets import box_around
from thirdaxis.tasks.model import Model, load_model
from thirdaxis.tasks.progress import Told, tell_nobody
from thirdaxis.tasks.segmentation.windows import logit_slabs


@dataclass(frozen=True, eq=False)
class Locator:
    """A trained network and all it needs to be run on scans."""

    net: nn.Module
    settings: LocateSettings
    plan: LocatePlan
    device: torch.device

    def heat(
        self,
        scan: Volume,
        *,
        overlap: float | Sequence[float] | None = None,
        told: Told = tell_nobody,
    ) -> Volume:
        """The heat map of a scan, on its own grid turned to axial slices.

        Args:
            scan: (C, D, H, W) on any grid.
            overlap: of neighbouring windows; none takes the run's own.
            told: called with the windows done and their number.

        Returns:
            (1, D, H, W) float32.

        Raises:
            InputError: another number of channels than the network was trained on.
        """
        check_channels(scan, self.plan, "the scan")
        seen = preprocessing(self.settings).image(scan)
        # What was trained in mixed precision on a CPU, to save time, is not run so unasked.
        precision = self.settings.precision if self.device.type == "cuda" else "32"
        slabs = logit_slabs(
            self.net,
            seen.array,
            self.plan.window,
            self.settings.overlap if overlap is None else overlap,
            thickness=seen.spacing[0],
            rim=self.settings.loss_rim,
            precision=autocast(precision, self.device),
            told=told,
        )
        heat = torch.cat([slab.cpu() for slab in slabs], dim=1)
        shape, affine = turned_grid(scan.shape, scan.affine)
        like = Volume(torch.zeros(1).expand(1, *shape), affine)
        return onto(Volume(heat, seen.affine), like, mode="bilinear")

    def points(self, heat: Volume) -> Points:
        """The peaks of a heat map, with a box around each as wide as its Gaussian would be.

        Args:
            heat: from `heat`.
        """
        told, values = self.settings, heat.array[0].numpy()
        window = window_voxels(told.suppress, heat.spacing)
        places, scores = peaks(values, window, told.least, told.most)
        boxes = [box_around(values, (d, h, w), told.sigma) for d, h, w in places.tolist()]
        return Points(places.astype(float), scores.astype(float), np.reshape(boxes, (-1, 6)))


def load_locator(
    path: str | Path | Model, accelerator: str | None = None, *, trust: bool = False
) -> Locator:
    """Loads a network trained to locate lesions.

    Args:
        path: a run folder, or a trained model in any form that `load_model` reads.
        accelerator: `auto`, `cpu` or `gpu`; none takes the run's own.
        trust: whether a program that the model names as its network may be called.

    Raises:
        InputError: not a trained model, or one of another task.
    """
    model = load_model(path, task="locate", trust=trust)
    settings, plan = model.settings, model.plan
    assert isinstance(settings, LocateSettings) and isinstance(plan, LocatePlan)
    return Locator(model.net, settings, plan, model.moved(accelerator))
