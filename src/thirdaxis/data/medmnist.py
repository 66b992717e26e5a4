"""The six volume sets of MedMNIST as they are downloaded: one `.npz` file each."""

import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thirdaxis.errors import InputError, did_you_mean

KEYS = {"training": "train", "validation": "val", "test": "test"}
"""Parts of the official split and what they are called in the file."""


@dataclass(frozen=True)
class About:
    """One set.

    Args:
        labels: class names by number.
        counts: training, validation and test samples of each published version.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, int, int], ...]


ORGANS = (
    *("liver", "kidney-right", "kidney-left", "femur-right", "femur-left", "bladder"),
    *("heart", "lung-right", "lung-left", "spleen", "pancreas"),
)
FRACTURES = ("buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture")
SETS = {
    "organmnist3d": About(ORGANS, ((971, 161, 610), (972, 161, 610))),
    "nodulemnist3d": About(("benign", "malignant"), ((1158, 165, 310), (1158, 165, 526))),
    "adrenalmnist3d": About(("normal", "hyperplasia"), ((1188, 98, 298),)),
    "fracturemnist3d": About(FRACTURES, ((1027, 103, 240),)),
    "vesselmnist3d": About(("vessel", "aneurysm"), ((1335, 191, 382), (1335, 192, 382))),
    "synapsemnist3d": About(("inhibitory synapse", "excitatory synapse"), ((1230, 177, 352),)),
}
"""The sets by file name. Counts changed between versions 2 and 3; both are known."""


@dataclass(frozen=True, eq=False)
class MedMNIST:
    """A set in memory.

    Args:
        name: such as ``adrenalmnist3d``.
        labels: class names by number.
        images: by part, ``(N, 1, size, size, size)`` uint8, axes as in the file.
        truth: by part, ``(N,)`` class numbers.
    """

    name: str
    labels: tuple[str, ...]
    images: dict[str, Tensor]
    truth: dict[str, Tensor]


def read_medmnist(path: Path) -> MedMNIST:
    """Reads a set with its official split.

    Source: Yang et al., "MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical
    image classification", Scientific Data, 2023; sizes of 64 came with version 3.

    Args:
        path: ``adrenalmnist3d.npz``, ``adrenalmnist3d_64.npz`` and so on, under its own name.

    Returns:
        The set, values 0 to 255.

    Raises:
        InputError: no such file, another name, or a file that is not the published set.
    """
    name = path.stem.removesuffix("_64")
    if name not in SETS:
        raise InputError(
            f"{path}: no volume set of MedMNIST is called {name!r}{did_you_mean(name, SETS)}"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    about, side = SETS[name], 64 if path.stem.endswith("_64") else 28
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {
                (part, what): file[f"{key}_{what}"]
                for part, key in KEYS.items()
                for what in ("images", "labels")
            }
    except KeyError as fault:
        raise InputError(f"{path}: not a set of MedMNIST, it has no {fault.args[0]}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as fault:
        raise InputError(f"{path}: not readable as .npz ({fault})") from None
    images, truth = {}, {}
    for part in KEYS:
        volumes, labels = arrays[part, "images"], arrays[part, "labels"]
        if volumes.dtype != np.uint8 or volumes.shape[1:] != (side,) * 3:
            raise InputError(
                f"{path}: {part} images are {volumes.shape[1:]} {volumes.dtype}, expected "
                f"{(side,) * 3} uint8"
            )
        if labels.shape != (len(volumes), 1) or not np.isin(labels, range(len(about.labels))).all():
            raise InputError(
                f"{path}: {part} labels are {labels.shape} from {labels.min()} to {labels.max()}, "
                f"expected ({len(volumes)}, 1) from 0 to {len(about.labels) - 1}"
            )
        images[part] = torch.from_numpy(volumes)[:, None]
        truth[part] = torch.from_numpy(labels[:, 0].astype(np.int64))
    counts = tuple(len(numbers) for numbers in truth.values())
    if counts not in about.counts:
        raise InputError(
            f"{path}: {counts} training, validation and test samples, the published set has "
            f"{' or '.join(map(str, about.counts))}"
        )
    return MedMNIST(name, about.labels, images, truth)
