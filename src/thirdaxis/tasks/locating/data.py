"""Feeds patches to train on, and whole volumes to choose the best epoch by."""

from collections.abc import Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from thirdaxis.tasks.feed import RunData, share_of
from thirdaxis.tasks.locating.patches import HeatPatches
from thirdaxis.tasks.locating.prepare import Seen
from thirdaxis.tasks.locating.settings import LocateSettings


class WholeVolumes(Dataset[dict[str, Any]]):
    """The volumes that one device judges; see `share_of`.

    Args:
        volumes: of the part.
        rank: of this device.
        world: number of devices.
    """

    def __init__(self, volumes: Sequence[Seen], rank: int, world: int) -> None:
        self.volumes, self.numbers = volumes, share_of(len(volumes), rank, world)

    def __len__(self) -> int:
        """Volumes of this device."""
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Gives `number` and `image` (C, D, H, W)."""
        number = self.numbers[index]
        return {"number": number, "image": self.volumes[number].image}


def only_one(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """A whole volume is a batch by itself, as volumes differ in size."""
    return batch[0]


class LocateData(RunData):
    """Training patches, and volumes to choose by.

    Args:
        training: to learn from.
        validation: to choose by; empty chooses nothing.
        settings: of the run.
    """

    def __init__(
        self, training: Sequence[Seen], validation: Sequence[Seen], settings: LocateSettings
    ) -> None:
        self.validation = validation
        patches = HeatPatches(training, settings)
        super().__init__(patches, len(training) * settings.patches_per_volume, settings)

    def val_dataloader(self) -> DataLoader[dict[str, Any]] | Sequence[Any]:
        """This device's share of the volumes to choose by, whole."""
        if not self.validation:
            return []
        return DataLoader(WholeVolumes(self.validation, *self.place()), collate_fn=only_one)
