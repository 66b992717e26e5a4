"""Feeds key slices to Lightning; every random choice is a function of (seed, item)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.tv_tensors import Mask

from thirdaxis.data.lesions.key_slice import KeySlice, SliceReader
from thirdaxis.data.lesions.masks import decoded
from thirdaxis.tasks.detection.augment import changed, fitted, to_middles, to_sides
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.feed import RunData, share_of, shuffled

Batch = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Slices:
    """Key slices of one part, as the network sees them.

    Args:
        slices: in a fixed order.
        read: gives their neighbourhoods in HU.
        plan: of the run.
        masks: of the lesions of a slice, by its name, as they are stored; none without a mask head.
    """

    slices: Sequence[KeySlice]
    read: SliceReader
    plan: DetectPlan
    masks: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def sample(self, number: int, kind: str = "none", seed: int = 0) -> Batch:
        """One key slice, changed or as it is.

        Args:
            number: of the slice.
            kind: of change.
            seed: of the change.

        Returns:
            `image` (1, D, H, W), `thickness` in mm and `target` with `boxes` (L, 4), `labels`
            (L,) and, of a network that draws outlines, `masks` (L, H, W).
        """
        one, plan = self.slices[number], self.plan
        interval, thickness = plan.neighbours(one.spacing[0])
        image = plan.grey_of(torch.from_numpy(self.read(one, plan.seen, interval)).float())
        size = (int(image.shape[-2]), int(image.shape[-1]))
        drawn = [torch.as_tensor(decoded(told)) for told in self.masks.get(one.name, ())]
        masks = torch.stack(drawn) if drawn else torch.zeros(len(one.boxes), *size)
        marked = to_sides(one.boxes.float(), size), Mask(masks.to(torch.uint8))
        image, boxes, outlines = changed(image, *marked, kind, seed)
        scale = plan.scale(*size)
        image, boxes, outlines = fitted(image, boxes, outlines, scale, plan.side, plan.grey[0])
        target = {"boxes": to_middles(boxes), "labels": torch.ones(len(boxes), dtype=torch.int64)}
        if plan.masks:
            target["masks"] = outlines.as_subclass(Tensor)
        told_mm = torch.tensor(thickness, dtype=torch.float32)
        return {"image": image.as_subclass(Tensor)[None], "thickness": told_mm, "target": target}


class TrainingSlices(Dataset[Batch]):
    """Endless changed key slices, by item number.

    Args:
        slices: of the training part.
        settings: of the run: the kind of change, the sizes, and the seed of every choice.
    """

    def __init__(self, slices: Slices, settings: DetectSettings) -> None:
        self.slices, self.told = slices, settings

    def __getitem__(self, item: int) -> Batch:
        """Gives a changed sample, as large as the others of its step."""
        told = self.told
        number = shuffled(item, len(self.slices.slices), told.seed)
        size = told.size
        if told.scales:
            size = told.scales[_drawn(told.seed, item // told.batch, 1) % len(told.scales)]
        slices = replace(self.slices, plan=replace(self.slices.plan, size=size))
        return slices.sample(number, told.augment, _drawn(told.seed, item))


def _drawn(*told: int) -> int:
    """A number drawn by numbers."""
    return int(np.random.SeedSequence(told).generate_state(1)[0])


class HeldSlices(Dataset[Batch]):
    """The key slices that one device judges, as they are; see `share_of`.

    Args:
        slices: of the part.
        rank: of this device.
        world: number of devices.
    """

    def __init__(self, slices: Slices, rank: int = 0, world: int = 1) -> None:
        self.slices, self.numbers = slices, share_of(len(slices.slices), rank, world)

    def __len__(self) -> int:
        """Slices of this device."""
        return len(self.numbers)

    def __getitem__(self, index: int) -> Batch:
        """Gives a sample and its `number`."""
        number = self.numbers[index]
        return self.slices.sample(number) | {"number": number}


def together(samples: Sequence[Batch]) -> Batch:
    """A batch: images (N, 1, D, H, W), thickness (N,), and a list of targets of any length."""
    batch: Batch = {
        "image": torch.stack([one["image"] for one in samples]),
        "thickness": torch.stack([one["thickness"] for one in samples]),
        "targets": [one["target"] for one in samples],
    }
    if "number" in samples[0]:
        batch["number"] = torch.tensor([one["number"] for one in samples])
    return batch


class DetectData(RunData):
    """Training slices and those to choose the best epoch by.

    Args:
        training: key slices to learn from.
        validation: those to choose by; none chooses nothing.
        settings: of the run.
    """

    collate = staticmethod(together)

    def __init__(
        self, training: Slices, validation: Slices | None, settings: DetectSettings
    ) -> None:
        self.validation = validation
        samples = TrainingSlices(training, settings)
        super().__init__(samples, len(training.slices), settings)

    def val_dataloader(self) -> DataLoader[Batch] | Sequence[Any]:
        """This device's share of the slices to choose by."""
        if self.validation is None:
            return []
        rank, world = self.place()
        return DataLoader(
            HeldSlices(self.validation, rank, world),
            batch_size=max(1, self.told.batch // world),
            collate_fn=together,
            num_workers=self.told.workers,
        )
