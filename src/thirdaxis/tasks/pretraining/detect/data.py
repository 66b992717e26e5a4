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
from thirdaxis.data.variable_dimension import VariableDimension
from thirdaxis.errors import InputError
from thirdaxis.nets.lesion.svd import MULTIPLE
from thirdaxis.tasks.feed import RunData, share_of, shuffled
from thirdaxis.tasks.pretraining.detect.settings import DetectPretrainSettings
from thirdaxis.tasks.pretraining.detect.plan import SLICES

Batch = dict[str, Any]


def read_picture(path):
    from PIL import Image as P
    try:
        with P.open(path) as im:
            return torch.from_numpy(np.array(im.convert("RGB"))).movedim(-1, 0)
    except OSError as e:
        raise InputError(f"{path}: {e}") from None


TRIES = 20  # pictures in a row that may be damaged


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

    def __init__(
        self, coco: CocoSet, settings: DetectPretrainSettings, *, training: bool
    ) -> None:
        self.coco = coco
        self.changed = changes(settings, training=training)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.coco.pictures)

    def sample(self, number: int, seed: int = 0) -> Batch:
        """One picture.

        Args:
            number: of it.
            seed: of the change.

        Returns:
            ``image`` (1, 3, H, W) and ``target`` with ``boxes`` (L, 4) and ``labels`` (L,).

        Raises:
            InputError: it cannot be read, or has another size than its set says.
        """
        one = self.coco.pictures[number].single()
        image = read_picture(self.coco.folder / one.name)
        if tuple(image.shape[-2:]) != one.size:
            height, width = image.shape[-2:]
            raise InputError(
                f"{self.coco.folder / one.name}: is {width} x {height} pixels large, "
                f"{self.coco.origin} says {one.size[1]} x {one.size[0]}"
            )
        boxes = BoundingBoxes(torch.from_numpy(one.boxes), format="XYXY", canvas_size=one.size)  # type: ignore[call-overload]
        told = {"image": Image(image), "boxes": boxes, "labels": torch.from_numpy(one.labels)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            told = self.changed(told)
        target = {"boxes": told["boxes"].as_subclass(Tensor), "labels": told["labels"]}
        return {"image": told["image"], "target": target}


class TrainingPhotographs(Dataset[Batch]):
    """Endless varied pictures, by item number; the next one stands in for a damaged one.

    Args:
        pictures: of the training part.
        seed: of every choice.
    """

    def __init__(self, pictures: Photographs, seed: int) -> None:
        self.pictures, self.seed = pictures, seed

    def __getitem__(self, item: int) -> Batch:
        """Gives a sample, and what was wrong with those left out for it as ``damaged``."""
        first = shuffled(item, len(self.pictures), self.seed)
        change = int(np.random.SeedSequence((self.seed, item)).generate_state(1)[0])
        damaged: dict[int, str] = {}
        for number in range(first, first + TRIES):
            try:
                sample = self.pictures.sample(number % len(self.pictures), change)
            except InputError as fault:
                damaged[number % len(self.pictures)] = str(fault)
            else:
                return sample | {"damaged": damaged}
        raise InputError(f"{TRIES} pictures in a row are damaged; the last: {damaged.popitem()[1]}")


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
        """Gives a sample and its `number`; of a damaged picture black, and what is wrong with it.

        So every device has as many answers to give, whatever is damaged.
        """
        number = self.numbers[index]
        damaged = {}
        try:
            sample = self.pictures.sample(number)
        except InputError as fault:
            damaged[number] = str(fault)
            nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
            sample = {"image": torch.zeros(1, SLICES, MULTIPLE, MULTIPLE), "target": nothing}
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
        "targets": [one["target"] for one in samples],
        "damaged": {number: why for one in samples for number, why in one["damaged"].items()},
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
    """

    collate = staticmethod(together)

    def __init__(
        self, training: Photographs, held: Photographs, settings: DetectPretrainSettings
    ) -> None:
        self.held = held
        super().__init__(TrainingPhotographs(training, settings.seed), len(training), settings)

    def val_dataloader(self) -> DataLoader[Batch]:
        """This device's share of the held-out pictures."""
        rank, world = self.place()
        return held_loader(self.held, self.told.batch, self.told.workers, rank, world)
