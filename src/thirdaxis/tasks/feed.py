"""Feeds the samples of any task to Lightning, each device its share of every batch."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from thirdaxis.tasks.settings import RunSettings


class ItemSampler(Sampler[int]):
    """The item numbers of one epoch that one device trains on.

    Args:
        items: samples an epoch, over all devices.
        rank: of this device.
        world: number of devices.
    """

    def __init__(self, items: int, rank: int = 0, world: int = 1) -> None:
        self.items, self.rank, self.world, self.epoch = items, rank, world, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this as each epoch begins."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Interleaves the devices, so that together they see the batches one device would."""
        first = self.epoch * self.items
        return iter(range(first + self.rank, first + self.items, self.world))

    def __len__(self) -> int:
        """Items of this device."""
        return len(range(self.rank, self.items, self.world))


class RunData(LightningDataModule):
    """Training samples that are a function of their number; a task adds what it validates on.

    Args:
        samples: to train on, by item number, without end.
        items: how many there are, each once; an epoch has as many unless the settings say.
        settings: of the run.
    """

    collate: Callable[[Sequence[Any]], Any] | None = None
    """How samples become a batch; none stacks them."""

    def __init__(self, samples: Dataset[Any], items: int, settings: RunSettings) -> None:
        super().__init__()
        self.samples, self.told = samples, settings
        self.batches = batches_of(settings, items)

    def place(self) -> tuple[int, int]:
        """The number of this device, and how many there are."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def train_dataloader(self) -> DataLoader[Any]:
        """This device's share of each step's samples."""
        rank, world = self.place()
        workers = self.told.workers
        return DataLoader(
            self.samples,
            batch_size=self.told.batch // world,
            sampler=ItemSampler(self.batches * self.told.batch, rank, world),
            num_workers=workers,
            collate_fn=self.collate,
            persistent_workers=workers > 0,
            pin_memory=self.told.accelerator != "cpu" and torch.cuda.is_available(),
        )


def shuffled(item: int, samples: int, seed: int) -> int:
    """Which of so many samples an item is, every pass over them an order of its own."""
    around, position = divmod(item, samples)
    return int(_order(samples, seed, around)[position])


@lru_cache(maxsize=4)
def _order(samples: int, seed: int, around: int) -> np.ndarray:
    """An order of all samples; of a million pictures it takes longer to draw than one to decode."""
    return np.random.default_rng((seed, around)).permutation(samples)


def share_of(samples: int, rank: int, world: int) -> list[int]:
    """The held-out samples that one device judges.

    Every device gets as many, the first ones twice where they do not divide: the devices then meet
    in the same collective calls, and the module counts each sample once.

    Args:
        samples: how many there are.
        rank: of the device.
        world: number of devices.
    """
    each = -(-samples // world)
    return [(rank + world * turn) % samples for turn in range(each)]


def batches_of(settings: RunSettings, items: int) -> int:
    """Batches of an epoch: for as many steps as told, or enough for so many samples."""
    if settings.epoch_steps is not None:
        return settings.epoch_steps * settings.accumulate
    return math.ceil(items / settings.batch)
