"""Random patches whose every choice is a function of (seed, item), so that a run can be resumed.

No generator runs from step to step: item number `epoch * items + i` alone decides which volume is
cut, where, and how the patch is changed. A killed run that starts its epoch again draws the same.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms import (
    Compose,
    RandAffined,
    RandAxisFlipd,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandRotate90d,
    RandScaleIntensityd,
    RandShiftIntensityd,
    Transform,
)
from torch import Tensor
from torch.utils.data import Dataset

from thirdaxis.tasks.segmentation.prepare import Prepared

# Enough centres to draw from; a full index of a CT's background would outweigh the CT.
MOST_CENTRES = 20_000
FIFTEEN_DEGREES = float(np.pi / 12)


def light_augmentation(anisotropy: float) -> list[Transform]:
    """Left-right flips, small rotations and scalings, brightness and contrast.

    Front-back and up-down flips are left out: anatomy has a front and a top. Where voxels are far
    longer along one axis, rotations stay in the plane, as a tilt on the voxel grid would shear.

    Args:
        anisotropy: largest over smallest spacing.

    Returns:
        MONAI transforms of a dict with `image` and `label`, (C, D, H, W).
    """
    tilt = FIFTEEN_DEGREES if anisotropy <= 2 else 0.0
    return [
        RandFlipd(["image", "label"], prob=0.5, spatial_axis=2),
        RandAffined(
            ["image", "label"],
            prob=0.5,
            rotate_range=(FIFTEEN_DEGREES, tilt, tilt),
            scale_range=(0.1, 0.1, 0.1),
            mode=("bilinear", "nearest"),
            padding_mode="border",
        ),
        RandScaleIntensityd(["image"], factors=0.2, prob=0.5),
        RandShiftIntensityd(["image"], offsets=0.2, prob=0.5),
    ]


def quarter_turns() -> list[Transform]:
    """Any quarter turns about the three axes, then a flip along one axis or none.

    Source: Yang et al., "Reinventing 2D Convolutions for 3D Images", IEEE JBHI 2021, in whose code
    nodules are turned so.

    Returns:
        MONAI transforms of a dict with `image` and `label`, (C, n, n, n).
    """
    both = ["image", "label"]
    turns = [RandRotate90d(both, 0.75, 3, spatial_axes=axes) for axes in ((0, 1), (0, 2), (1, 2))]
    return [*turns, RandAxisFlipd(both, 0.75)]


def plane_turns() -> list[Transform]:
    """Turns by up to 20 degrees and mirrors in the plane, and scalings by up to a fifth.

    Source: Liu et al., "3D Anisotropic Hybrid Network", MICCAI 2018, section 4.2.

    Returns:
        MONAI transforms of a dict with `image` and `label`, (C, D, H, W).
    """
    both = ["image", "label"]
    mirrors = [RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in (1, 2)]
    moved = RandAffined(
        both,
        prob=1.0,
        rotate_range=(float(np.pi / 9), 0.0, 0.0),
        scale_range=(0.2, 0.2, 0.2),
        mode=("bilinear", "nearest"),
        padding_mode="border",
    )
    return [*mirrors, moved]


def augmentation(name: str, anisotropy: float) -> list[Transform]:
    """The changes to patches by name: `light`, `lidc`, `ahnet` or `none`."""
    if name == "light":
        return light_augmentation(anisotropy)
    return {"lidc": quarter_turns, "ahnet": plane_turns, "none": list}[name]()


def pad_to(array: Tensor, size: Sequence[int]) -> Tensor:
    """Pads (C, D, H, W) with zeros on both sides until it is at least `size`."""
    margins: list[int] = []
    for have, want in zip(reversed(array.shape[1:]), reversed(size), strict=True):
        lack = max(want - have, 0)
        margins += [lack // 2, lack - lack // 2]
    return F.pad(array, margins) if any(margins) else array


def random_centres(label: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Flat voxel indices of foreground and of background, at most `MOST_CENTRES` of each.

    Args:
        label: (1, D, H, W) class indices.
        seed: of the choice.

    Returns:
        Foreground and background indices; where a volume has only one kind, that kind twice.
    """
    generator = torch.Generator().manual_seed(seed)
    flat = label.reshape(-1)
    inside = torch.nonzero(flat)[:, 0]
    if len(inside) > MOST_CENTRES:
        inside = inside[torch.randperm(len(inside), generator=generator)[:MOST_CENTRES]]
    tried = torch.randint(len(flat), (MOST_CENTRES,), generator=generator)
    outside = tried[flat[tried] == 0]
    if len(inside) == 0:
        inside = outside
    return inside, outside if len(outside) else inside


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Endless patches of prepared volumes, by item number.

    Args:
        cases: prepared training volumes.
        patch: (d, h, w) voxels.
        foreground: share of patches centred on foreground.
        augmentation: MONAI transforms of a dict with `image` and `label`; empty for none.
        seed: of every choice.
    """

    def __init__(
        self,
        cases: Sequence[Prepared],
        patch: tuple[int, int, int],
        foreground: float,
        augmentation: Sequence[Transform],
        seed: int,
    ) -> None:
        self.seed = seed
        self.volumes: list[dict[str, Tensor]] = []
        self.thickness: list[float] = []
        for number, case in enumerate(cases):
            label = pad_to(case.label, patch)
            inside, outside = random_centres(label, seed + number)
            image = pad_to(case.image, patch)
            self.volumes.append({"image": image, "label": label, "in": inside, "out": outside})
            self.thickness.append(case.spacing[0])
        crop = RandCropByPosNegLabeld(
            ["image", "label"],
            label_key="label",
            spatial_size=patch,
            pos=foreground,
            neg=1 - foreground,
            fg_indices_key="in",
            bg_indices_key="out",
        )
        self.crop = crop
        self.augment = Compose(list(augmentation))

    def volume_of(self, item: int) -> int:
        """Which volume an item is cut from: every pass over all volumes is its own permutation."""
        around, position = divmod(item, len(self.volumes))
        order = np.random.default_rng((self.seed, around)).permutation(len(self.volumes))
        return int(order[position])

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """Gives `image` (C, d, h, w) float32, `label` (1, d, h, w) int64 and `thickness` in mm."""
        draws = np.random.SeedSequence((self.seed, item)).generate_state(2)
        self.crop.set_random_state(seed=int(draws[0]))
        self.augment.set_random_state(seed=int(draws[1]))
        volume = self.volume_of(item)
        patch = self.crop(self.volumes[volume])[0]
        patch = self.augment({"image": patch["image"], "label": patch["label"]})
        image, label = (torch.as_tensor(patch[name]).as_subclass(Tensor) for name in patch)
        return {
            "image": image.float().contiguous(),
            "label": label.long().contiguous(),
            "thickness": torch.tensor(self.thickness[volume]),
        }
