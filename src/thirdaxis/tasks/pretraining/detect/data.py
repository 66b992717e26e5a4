"""Feeds photographs with boxes to Lightning; every random choice is a function of (seed, item)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes, Image

from thirdaxis.data.coco import CocoSet
from thirdaxis.data.photographs.decode import DamagedPicture, decode
from thirdaxis.data.variable_dimension import VariableDimension
from thirdaxis.nets.lesion.svd import MULTIPLE
from thirdaxis.tasks.feed import RunData, share_of, shuffled
from thirdaxis.tasks.pretraining.detect.plan import SLICES
from thirdaxis.tasks.pretraining.detect.settings import DetectPretrainSettings

Batch = dict[str, Any]


def changes(settings: DetectPretrainSettings, *, training: bool) -> v2.Compose:
    """What is done to a picture and its boxes together; colours become slices last.

    Args:
        settings: of the run.
        training: whether the picture is learnt from, and varied.

    Returns:
        Takes and gives a dictionary whose ``image`` is first; boxes that became thinner than a
        pixel go, with their ``labels``.
    """
    mean, deviation = settings.normalisation()
    varied: list[v2.Transform] = [
        v2.RandomChoice([v2.Resize(None, max_size=side) for side in settings.scales]),
        v2.SanitizeBoundingBoxes(min_size=1.0),
    ]
    if settings.flip:
        varied.insert(0, v2.RandomHorizontalFlip())
    return v2.Compose(
        [
            *(varied if training else [v2.Resize(None, max_size=settings.size)]),
            v2.ToDtype({Image: torch.float32, "others": None}),
            v2.Normalize(mean, deviation),
            VariableDimension(shuffle=training and settings.shuffle_channels),
        ]
    )


class Photographs:
    """Pictures of one part, as the network sees them.

    Args:
        coco: the part; boxes around crowds are not given.
        settings: of the run.
        training: whether they are varied.
    """

    def __init__(self, coco: CocoSet, settings: DetectPretrainSettings, *, training: bool) -> None:
        self.coco = coco
        self.changed = changes(settings, training=training)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.coco.pictures)

    def name(self, number: int) -> str:
        """Where a picture lies."""
        return str(self.coco.folder / self.coco.pictures[number].name)

    def sample(self, number: int, seed: int = 0) -> Batch:
        """One picture.

        Args:
            number: of it.
            seed: of the change.

        Returns:
            ``image`` (1, 3, H, W), ``target`` with ``boxes`` (L, 4) and ``labels`` (L,), and its
            place in ``converted`` where it was stored in other colours than three.

        Raises:
            DamagedPicture: it cannot be read, or has another size than its set says.
        """
        one = self.coco.pictures[number].single()
        try:
            image, converted = decode((self.coco.folder / one.name).read_bytes())
        except OSError as fault:
            raise DamagedPicture(fault.strerror or str(fault)) from None
        if tuple(image.shape[-2:]) != one.size:
            height, width = image.shape[-2:]
            raise DamagedPicture(
                f"is {width} x {height} pixels large, {self.coco.origin} says "
                f"{one.size[1]} x {one.size[0]}"
            )
        boxes = BoundingBoxes(torch.from_numpy(one.boxes), format="XYXY", canvas_size=one.size)  # type: ignore[call-overload]
        told = {"image": image, "boxes": boxes, "labels": torch.from_numpy(one.labels)}
        # Its own stream of numbers, so that the training process keeps its own.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            told = self.changed(told)
        target = {"boxes": told["boxes"].as_subclass(Tensor), "labels": told["labels"]}
        names = [self.name(number)] if converted else []
        return {"image": told["image"], "target": target, "converted": names}


def nothing() -> Batch:
    """A black sample without boxes, in the place of one that cannot be read."""
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    image = torch.zeros(1, SLICES, MULTIPLE, MULTIPLE)
    return {"image": image, "target": none, "converted": []}


class TrainingPhotographs(Dataset[Batch]):
    """Endless varied pictures, by item number; the next one stands in for a damaged one.

    Args:
        pictures: of the training part.
        seed: of every choice.
        most: damaged pictures in a row after which none is looked for.
    """

    def __init__(self, pictures: Photographs, seed: int, most: int) -> None:
        self.pictures, self.seed, self.most = pictures, seed, most

    def __getitem__(self, item: int) -> Batch:
        """Gives a sample, and where ``damaged`` pictures lie that were left out for it, and why."""
        first = shuffled(item, len(self.pictures), self.seed)
        change = int(np.random.SeedSequence((self.seed, item)).generate_state(1)[0])
        damaged: dict[str, str] = {}
        for number in range(first, first + min(self.most + 1, len(self.pictures))):
            place = number % len(self.pictures)
            try:
                return self.pictures.sample(place, change) | {"damaged": damaged}
            except DamagedPicture as fault:
                damaged[self.pictures.name(place)] = str(fault)
        return nothing() | {"damaged": damaged}


class HeldPhotographs(Dataset[Batch]):
    """The pictures that one device judges, as they are; see `share_of`.

    Args:
        pictures: of the part.
        rank: of this device.
        world: number of devices.
    """

    def __init__(self, pictures: Photographs, rank: int = 0, world: int = 1) -> None:
        self.pictures, self.numbers = pictures, share_of(len(pictures), rank, world)

    def __len__(self) -> int:
        """Pictures of this device."""
        return len(self.numbers)

    def __getitem__(self, index: int) -> Batch:
        """Gives a sample and its `number`; of a damaged picture `nothing`, and what is wrong.

        So every device has as many answers to give, whatever is damaged.
        """
        number = self.numbers[index]
        try:
            sample, damaged = self.pictures.sample(number), {}
        except DamagedPicture as fault:
            sample, damaged = nothing(), {self.pictures.name(number): str(fault)}
        return sample | {"number": number, "damaged": damaged}


def together(samples: Sequence[Batch]) -> Batch:
    """A batch: images (N, 1, 3, H, W), padded at the right and below, and lists of the rest.

    H and W are those of the largest pictures, up to a multiple of 64; padding is 0, the mean grey.
    ``fitted`` (N, 2) has the height and width of each picture before it.
    """
    fitted = [tuple(one["image"].shape[-2:]) for one in samples]
    height, width = (-(-max(sides) // MULTIPLE) * MULTIPLE for sides in zip(*fitted, strict=True))
    images = [
        F.pad(one["image"], (0, width - w, 0, height - h))
        for one, (h, w) in zip(samples, fitted, strict=True)
    ]
    batch: Batch = {
        "image": torch.stack(images),
        "fitted": torch.tensor(fitted),
        "targets": [
            one["target"] | {"size": size} for one, size in zip(samples, fitted, strict=True)
        ],
        "damaged": {name: why for one in samples for name, why in one["damaged"].items()},
        "converted": [name for one in samples for name in one["converted"]],
    }
    if "number" in samples[0]:
        batch["number"] = torch.tensor([one["number"] for one in samples])
    return batch


def held_loader(
    pictures: Photographs, batch: int, workers: int, rank: int = 0, world: int = 1
) -> DataLoader[Batch]:
    """One device's share of held-out pictures, batch by batch."""
    return DataLoader(
        HeldPhotographs(pictures, rank, world),
        batch_size=max(1, batch // world),
        collate_fn=together,
        num_workers=workers,
    )


class PhotographData(RunData):
    """Training pictures and held-out ones.

    Args:
        training: pictures to learn from.
        held: pictures to choose the best epoch by.
        settings: of the run.
        most: damaged pictures that are allowed.
    """

    collate = staticmethod(together)

    def __init__(
        self,
        training: Photographs,
        held: Photographs,
        settings: DetectPretrainSettings,
        most: int,
    ) -> None:
        self.held = held
        samples = TrainingPhotographs(training, settings.seed, most)
        super().__init__(samples, len(training), settings)

    def val_dataloader(self) -> DataLoader[Batch]:
        """This device's share of the held-out pictures."""
        rank, world = self.place()
        return held_loader(self.held, self.told.batch, self.told.workers, rank, world)
