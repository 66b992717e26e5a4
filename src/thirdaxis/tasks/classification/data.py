"""Feeds boxes to Lightning; every random choice is a function of (seed, item)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, RandAffine, RandFlip, RandScaleIntensity, RandShiftIntensity
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from thirdaxis.tasks.classification.crops import Crops
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.feed import RunData, share_of, shuffled
from thirdaxis.tasks.segmentation.patches import FIFTEEN_DEGREES

Change = Callable[[Tensor, int], Tensor]
"""An image ``(C, d, h, w)`` and a seed to an image of the same size."""


def unchanged(image: Tensor, seed: int) -> Tensor:
    """No augmentation."""
    return image


def quarter_turns(image: Tensor, seed: int) -> Tensor:
    """Quarter turns about each pair of axes and a flip along one axis or none.

    As the experiments on nodules of Yang et al., "Reinventing 2D Convolutions for 3D Images",
    IEEE JBHI 2021, trained.

    Args:
        image: ``(C, n, n, n)``.
        seed: of the choice.
    """
    random = np.random.default_rng(seed)
    turns = random.integers(4, size=3)
    for turn, axes in zip(turns, ((1, 2), (1, 3), (2, 3)), strict=True):
        image = image.rot90(int(turn), axes)
    flip = int(random.integers(4))
    return image.flip(flip) if flip else image


class LightChanges:
    """Left-right flips, small rotations and scalings, brightness and contrast.

    Args:
        orientation: axis code of the images, which says where left and right are.
    """

    def __init__(self, orientation: str) -> None:
        across = next(axis for axis, letter in enumerate(orientation) if letter in "LR")
        self.changes = Compose(
            [
                RandFlip(prob=0.5, spatial_axis=across),
                RandAffine(
                    prob=0.5,
                    rotate_range=(FIFTEEN_DEGREES,) * 3,
                    scale_range=(0.1, 0.1, 0.1),
                    mode="bilinear",
                    padding_mode="border",
                ),
                RandScaleIntensity(factors=0.2, prob=0.5),
                RandShiftIntensity(offsets=0.2, prob=0.5),
            ]
        )

    def __call__(self, image: Tensor, seed: int) -> Tensor:
        """Changes an image as the seed says."""
        self.changes.set_random_state(seed=seed)
        return torch.as_tensor(self.changes(image)).as_subclass(Tensor)


def changes_of(settings: ClassifySettings) -> Change:
    """The augmentation of a run."""
    if settings.augment == "light":
        return LightChanges(settings.orientation)
    return quarter_turns if settings.augment == "lidc" else unchanged


class TrainingBoxes(Dataset[dict[str, Tensor]]):
    """Endless boxes of training samples, by item number.

    Args:
        crops: of the training samples.
        truth: of each.
        change: the augmentation.
        seed: of every choice.
        even: whether each class is drawn as often, by the value of its truth; otherwise every pass
            over all samples is a permutation of its own.
    """

    def __init__(
        self, crops: Crops, truth: Tensor, change: Change, seed: int, even: bool = False
    ) -> None:
        self.crops, self.truth, self.change, self.seed = crops, truth, change, seed
        values = truth.unique() if even else torch.zeros(0)
        self.classes = [torch.nonzero(truth == value)[:, 0].tolist() for value in values]

    def sample_of(self, item: int) -> int:
        """Which sample an item is of."""
        if self.classes:
            random = np.random.default_rng((self.seed, item))
            members = self.classes[int(random.integers(len(self.classes)))]
            return members[int(random.integers(len(members)))]
        return shuffled(item, len(self.crops), self.seed)

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """Gives `image` (C, d, h, w) float32, `truth` and `thickness` in mm."""
        number = self.sample_of(item)
        place, change = np.random.SeedSequence((self.seed, item)).generate_state(2)
        margin = self.crops.margin
        d, h, w = np.random.default_rng(place).integers(-margin, margin + 1, size=3).tolist()
        image = self.change(self.crops.image(number, (d, h, w)), int(change))
        return {
            "image": image.float().contiguous(),
            "truth": self.truth[number],
            "thickness": torch.tensor(self.crops.thickness[number]),
        }


class HeldBoxes(Dataset[dict[str, Any]]):
    """The samples that one device judges, as they are; see `share_of`.

    Args:
        crops: of all held samples.
        truth: of each.
        rank: of this device.
        world: number of devices.
    """

    def __init__(self, crops: Crops, truth: Tensor, rank: int = 0, world: int = 1) -> None:
        self.numbers = share_of(len(crops), rank, world)
        self.crops, self.truth = crops, truth

    def __len__(self) -> int:
        """Samples of this device."""
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Gives `number`, `image` (C, d, h, w), `truth` and `thickness` in mm."""
        number = self.numbers[index]
        return {
            "number": number,
            "image": self.crops.image(number),
            "truth": self.truth[number],
            "thickness": torch.tensor(self.crops.thickness[number]),
        }


class ClassifyData(RunData):
    """Training boxes and those to choose the best epoch by.

    Args:
        training: boxes and truth of the training samples.
        validation: of those to choose by; none chooses nothing.
        settings: of the run.
    """

    def __init__(
        self,
        training: tuple[Crops, Tensor],
        validation: tuple[Crops, Tensor] | None,
        settings: ClassifySettings,
    ) -> None:
        self.validation = validation
        boxes = TrainingBoxes(
            *training, changes_of(settings), settings.seed, settings.balance == "sampler"
        )
        super().__init__(boxes, len(training[0]), settings)
        self.settings = settings

    def val_dataloader(self) -> DataLoader[dict[str, Any]] | Sequence[Any]:
        """This device's share of the boxes to choose by."""
        if self.validation is None:
            return []
        return DataLoader(HeldBoxes(*self.validation, *self.place()), self.settings.batch)
