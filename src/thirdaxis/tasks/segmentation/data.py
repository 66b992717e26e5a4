"""Feeds prepared volumes to Lightning: patches to train on, whole volumes to validate on."""

from collections.abc import Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from thirdaxis.tasks.feed import RunData, share_of
from thirdaxis.tasks.segmentation.patches import PatchDataset, augmentation
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.prepare import Prepared
from thirdaxis.tasks.segmentation.settings import SegmentSettings


class WholeVolumes(Dataset[dict[str, Any]]):
    """The validation volumes of one device; see `share_of`.

    Args:
        cases: all validation cases.
        rank: of this device.
        world: number of devices.
    """

    def __init__(self, cases: Sequence[Prepared], rank: int, world: int) -> None:
        self.numbers = share_of(len(cases), rank, world)
        self.cases = cases

    def __len__(self) -> int:
        """Volumes of this device."""
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Gives `number`, `image` (C, D, H, W), `label` (1, D, H, W) and `thickness` in mm."""
        number = self.numbers[index]
        case = self.cases[number]
        return {
            "number": number,
            "image": case.image,
            "label": case.label,
            "thickness": case.spacing[0],
        }


def only_one(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """A whole volume is a batch by itself, as volumes differ in size."""
    return batch[0]


class SegmentData(RunData):
    """Training patches and validation volumes.

    Args:
        training: prepared training volumes.
        validation: prepared held-out volumes.
        settings: of the run.
        plan: of the run.
    """

    def __init__(
        self,
        training: Sequence[Prepared],
        validation: Sequence[Prepared],
        settings: SegmentSettings,
        plan: Plan,
    ) -> None:
        self.validation = validation
        patches = PatchDataset(
            training,
            plan.patch,
            settings.foreground,
            augmentation(settings.augment, plan.anisotropy),
            settings.seed,
        )
        super().__init__(patches, len(training) * settings.patches_per_volume, settings)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """This device's share of the held-out volumes, whole."""
        return DataLoader(WholeVolumes(self.validation, *self.place()), collate_fn=only_one)
