"""Feeds photographs to Lightning; every random choice is a function of (seed, item)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from thirdaxis.data.photographs.decode import DamagedPicture, decode
from thirdaxis.data.photographs.pictures import Pictures
from thirdaxis.data.photographs.views import steady_view, training_view
from thirdaxis.errors import InputError
from thirdaxis.tasks.feed import RunData, share_of, shuffled
from thirdaxis.tasks.pretraining.classify.settings import ClassifyPretrainSettings

NOBODY = -1
"""The class of a sample that no picture stands behind: it counts nowhere."""

Sample = dict[str, Any]


class TrainingViews(Dataset[Sample]):
    """Endless random views of training pictures, by item number.

    A damaged picture is replaced by the next one, and told with the sample.

    Args:
        pictures: to train on; every pass over them is a permutation of its own.
        settings: of the run.
        most: damaged pictures in a row after which none is looked for.
    """

    def __init__(self, pictures: Pictures, settings: ClassifyPretrainSettings, most: int) -> None:
        mean, deviation = settings.normalisation()
        self.pictures, self.seed, self.most = pictures, settings.seed, most
        self.empty = torch.zeros(settings.sample)
        self.view = training_view(
            settings.size,
            settings.augment,
            mean=mean,
            deviation=deviation,
            volume=settings.in_3d,
            shuffle=settings.shuffle_channels,
        )

    def __getitem__(self, item: int) -> Sample:
        """Gives `image` float32, `truth`, and the names of `damaged` and `converted` pictures."""
        first = shuffled(item, len(self.pictures), self.seed)
        damaged: dict[str, str] = {}
        while len(damaged) <= self.most:
            number = (first + len(damaged)) % len(self.pictures)
            name = self.pictures.name(number)
            if name in damaged:
                break
            try:
                picture, converted = _read(self.pictures, number)
            except DamagedPicture as fault:
                damaged[name] = str(fault)
                continue
            # Its own stream of numbers, so that the training process keeps its own.
            with torch.random.fork_rng(devices=[]):
                state = np.random.SeedSequence((self.seed, item)).generate_state(1)
                torch.default_generator.manual_seed(int(state[0]))
                image = self.view(picture)
            truth = int(self.pictures.labels[number])
            return _sample(image, truth, damaged, [name] if converted else [])
        return _sample(self.empty, NOBODY, damaged)


class HeldViews(Dataset[Sample]):
    """The held-out pictures that one device judges, each by its middle.

    Damaged ones, and those that another device judges too, belong to `NOBODY`.

    Args:
        pictures: all held-out ones.
        settings: of the run.
        rank: of this device.
        world: number of devices.
    """

    def __init__(
        self,
        pictures: Pictures,
        settings: ClassifyPretrainSettings,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        mean, deviation = settings.normalisation()
        self.numbers = share_of(len(pictures), rank, world)
        self.own = len(range(rank, len(pictures), world))
        self.pictures = pictures
        self.empty = torch.zeros(settings.sample)
        self.view = steady_view(
            settings.size,
            settings.augment,
            mean=mean,
            deviation=deviation,
            volume=settings.in_3d,
        )

    def __len__(self) -> int:
        """Pictures of this device."""
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        """Gives what `TrainingViews` gives."""
        number = self.numbers[index]
        if index >= self.own:
            return _sample(self.empty, NOBODY)
        name = self.pictures.name(number)
        try:
            picture, converted = _read(self.pictures, number)
        except DamagedPicture as fault:
            return _sample(self.empty, NOBODY, {name: str(fault)})
        truth = int(self.pictures.labels[number])
        return _sample(self.view(picture), truth, {}, [name] if converted else [])


def _read(pictures: Pictures, number: int) -> tuple[Tensor, bool]:
    try:
        content = pictures.content(number)
    except InputError as fault:
        raise DamagedPicture(str(fault)) from None
    return decode(content)


def _sample(
    image: Tensor,
    truth: int,
    damaged: dict[str, str] | None = None,
    converted: Sequence[str] = (),
) -> Sample:
    return {
        "image": image,
        "truth": torch.tensor(truth),
        "damaged": damaged or {},
        "converted": converted,
    }


def together(samples: Sequence[Sample]) -> Sample:
    """A batch of samples; what was found of pictures stays in words."""
    plain = [{name: sample[name] for name in ("image", "truth")} for sample in samples]
    return {
        **default_collate(plain),
        "damaged": {k: v for sample in samples for k, v in sample["damaged"].items()},
        "converted": [name for sample in samples for name in sample["converted"]],
    }


class PhotographData(RunData):
    """Training and held-out pictures.

    Args:
        training: pictures to train on.
        held: pictures to validate on.
        settings: of the run.
        most: damaged pictures that are allowed.
    """

    collate = staticmethod(together)

    def __init__(
        self, training: Pictures, held: Pictures, settings: ClassifyPretrainSettings, most: int
    ) -> None:
        super().__init__(TrainingViews(training, settings, most), len(training), settings)
        self.held, self.settings = held, settings

    def val_dataloader(self) -> DataLoader[Sample]:
        """This device's share of the held-out pictures."""
        rank, world = self.place()
        return held_loader(self.held, self.settings, rank, world)


def held_loader(
    held: Pictures, settings: ClassifyPretrainSettings, rank: int = 0, world: int = 1
) -> DataLoader[Sample]:
    """Batches of the held-out pictures that one device judges."""
    return DataLoader(
        HeldViews(held, settings, rank, world),
        settings.batch // world,
        num_workers=settings.workers,
        collate_fn=together,
        persistent_workers=settings.workers > 0,
        pin_memory=settings.accelerator != "cpu" and torch.cuda.is_available(),
    )
