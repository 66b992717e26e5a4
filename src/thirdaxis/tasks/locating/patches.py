"""Training patches with their heat maps, every choice a function of (seed, item)."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms import (
    Compose,
    RandAffined,
    RandFlipd,
    RandScaleIntensityd,
    RandShiftIntensityd,
    Transform,
)
from torch import Tensor
from torch.utils.data import Dataset

from thirdaxis.errors import InputError
from thirdaxis.tasks.feed import shuffled
from thirdaxis.tasks.locating.prepare import Seen
from thirdaxis.tasks.locating.settings import LocateSettings
from thirdaxis.tasks.locating.targets import gaussians

Corner = tuple[int, int, int]
FIFTEEN_DEGREES = float(np.pi / 12)
TRIES = 20
"""Places tried for a patch away from lesions."""


def augmentation(kind: str) -> list[Transform]:
    """The changes to patches by name: `light`, `flips` or `none`; maps are moved with the image."""
    both = ["image", "heat"]
    if kind == "none":
        return []
    flips: list[Transform] = [RandFlipd(both, prob=0.5, spatial_axis=2)]
    if kind == "flips":
        return flips
    turns = RandAffined(
        both,
        prob=0.5,
        rotate_range=(FIFTEEN_DEGREES, 0.0, 0.0),
        scale_range=(0.0, 0.1, 0.1),
        mode=("bilinear", "bilinear"),
        padding_mode="border",
    )
    grey = [
        RandScaleIntensityd(["image"], factors=0.2, prob=0.5),
        RandShiftIntensityd(["image"], offsets=0.2, prob=0.5),
    ]
    return [*flips, turns, *grey]


class HeatPatches(Dataset[dict[str, Tensor]]):
    """Endless patches of volumes with the heat maps of their lesions, by item number.

    So many of the items are positive as the settings say: every lesion has its turn, wherever it
    is, and one of its voxels lies in the middle half of the patch. The others are cut from every
    volume in turn, with lesions or without.

    Args:
        volumes: prepared training volumes.
        settings: of the run.

    Raises:
        InputError: no lesion in any of them.
    """

    def __init__(self, volumes: Sequence[Seen], settings: LocateSettings) -> None:
        self.volumes, self.settings = list(volumes), settings
        self.lesions = [
            (number, box) for number, volume in enumerate(volumes) for box in volume.boxes
        ]
        if not self.lesions:
            raise InputError(f"no lesion in any of the {len(self.volumes)} training volumes")
        self.augment = Compose(augmentation(settings.augment))

    def place(self, item: int) -> tuple[int, Corner, bool]:
        """The volume an item is cut from, its first voxel there, and whether it is positive."""
        told = self.settings
        random = np.random.default_rng((told.seed, item))
        if random.random() < told.positive:
            number, box = self.lesions[shuffled(item, len(self.lesions), told.seed)]
            return number, self._around(box, number, random), True
        number = shuffled(item, len(self.volumes), told.seed)
        return number, self._away(number, random), False

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """Gives `image` (C, d, h, w), `heat` (1, d, h, w), float32, and `thickness` in mm."""
        number, corner, _ = self.place(item)
        volume, told = self.volumes[number], self.settings
        heat = gaussians(volume.boxes, corner, told.patch, share=told.sigma, joined=told.joined)
        change = np.random.SeedSequence((told.seed, item)).generate_state(1)[0]
        self.augment.set_random_state(seed=int(change))
        changed = self.augment({"image": cut(volume.image, corner, told.patch), "heat": heat})
        image, heat = (torch.as_tensor(changed[name]).as_subclass(Tensor) for name in changed)
        return {
            "image": image.float().contiguous(),
            "heat": heat.float().contiguous(),
            "thickness": torch.tensor(volume.spacing[0], dtype=torch.float32),
        }

    def _around(self, box: np.ndarray, number: int, random: np.random.Generator) -> Corner:
        """A corner with a place of a box in the middle half of the patch, unless a border is."""
        inside = random.uniform(box[:3], box[3:])
        before = random.uniform(0.25, 0.75, 3) * self.settings.patch
        return self._fitted(inside - before, number)

    def _away(self, number: int, random: np.random.Generator) -> Corner:
        """A random corner, and of some tries the first of a patch without a lesion's centre."""
        volume, size = self.volumes[number], np.array(self.settings.patch)
        centres = (volume.boxes[:, :3] + volume.boxes[:, 3:]) / 2
        room = np.maximum(np.array(volume.image.shape[1:]) - size, 0)
        for _ in range(TRIES):
            corner = random.integers(0, room, endpoint=True)
            held = (centres >= corner - 0.5) & (centres < corner + size - 0.5)
            if not held.all(axis=1).any():
                break
        return self._fitted(corner, number)

    def _fitted(self, corner: np.ndarray, number: int) -> Corner:
        """A corner of a patch within the volume; around its middle where it is the smaller."""
        room = np.array(self.volumes[number].image.shape[1:]) - self.settings.patch
        fitted = np.where(room < 0, room // 2, np.clip(np.rint(corner), 0, np.maximum(room, 0)))
        d, h, w = fitted.astype(int).tolist()
        return d, h, w


def cut(image: Tensor, corner: Corner, size: tuple[int, int, int]) -> Tensor:
    """A part of (C, D, H, W), with zeros where it lies outside."""
    place, margins = [], []
    for start, length, whole in zip(corner, size, image.shape[1:], strict=True):
        first, last = max(start, 0), min(start + length, whole)
        place.append(slice(first, last))
        margins.append((first - start, start + length - last))
    part = image[(slice(None), *place)]
    return F.pad(part, [side for both in reversed(margins) for side in both])
