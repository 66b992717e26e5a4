"""Volumes and boxes as the network sees them, kept in memory or on disk."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thirdaxis.atomic import atomic_path, write_text
from thirdaxis.data.grid import turned_grid
from thirdaxis.data.lesions.volumes import BoxedVolume, read_boxed_volumes
from thirdaxis.data.patients import patient_of
from thirdaxis.data.volume import Volume, read_volume
from thirdaxis.errors import InputError
from thirdaxis.tasks.engine import Watch, say_nothing
from thirdaxis.tasks.locating.plan import LocatePlan, preprocessing
from thirdaxis.tasks.locating.settings import LocateSettings
from thirdaxis.tasks.parts import parts_of, picked
from thirdaxis.tasks.segmentation.preprocess import Preprocessing


@dataclass(frozen=True, eq=False)
class Seen:
    """A volume as the network sees it.

    Args:
        name: of it.
        image: (C, D, H, W) float32, normalised.
        boxes: (L, 6) lowest, then highest (d, h, w), in voxels of `image`.
        spacing: mm along (d, h, w).
    """

    name: str
    image: Tensor
    boxes: np.ndarray
    spacing: tuple[float, float, float]


def boxed_volumes(settings: LocateSettings, say: Any = say_nothing) -> tuple[BoxedVolume, ...]:
    """The data set of a run.

    Args:
        settings: of the run.
        say: told which rows were left out, where the settings allow it.

    Raises:
        ThirdaxisError: as `read_boxed_volumes` and `patient_of`.
    """
    folder = Path(settings.data)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of scans")
    faults: list[str] | None = [] if settings.leave_out_faulty else None
    volumes = read_boxed_volumes(folder, folder / settings.boxes, faults=faults)
    if faults:
        say(f"{len(faults)} faulty rows were left out, the first: {faults[0]}")
    if settings.patient is None:
        return volumes
    whose = patient_of(settings.patient, folder, [volume.name for volume in volumes])
    return tuple(replace(volume, patient=whose(volume.name)) for volume in volumes)


def split_volumes(volumes: Sequence[BoxedVolume], settings: LocateSettings) -> dict[str, list[str]]:
    """Names of the volumes of each part, see `parts_of`.

    Raises:
        InputError: beside those of `parts_of`, no lesion in the part to choose by.
    """
    origin = f"{settings.data} ({settings.boxes})"
    parts = parts_of(
        volumes,
        settings,
        official=settings.official,
        selection=settings.selection,
        origin=origin,
        what="volume",
    )
    chosen = named(volumes, parts["validation"], origin)
    if chosen and not any(len(one.boxes) for one in chosen):
        raise InputError(
            f"{origin}: none of the {len(chosen)} volumes to choose the best epoch by has a "
            "lesion; take another share or seed, or keep the last epoch by selection=0"
        )
    return parts


def named(volumes: Sequence[BoxedVolume], names: Sequence[str], origin: str) -> list[BoxedVolume]:
    """The volumes of these names, in this order.

    Raises:
        InputError: the data set no longer has one of them.
    """
    return picked(volumes, names, origin, "volume")


def moved_boxes(boxes: np.ndarray, start: Tensor, end: Tensor) -> np.ndarray:
    """Boxes from one grid to another along the same axes.

    Args:
        boxes: (L, 6) lowest, then highest (d, h, w).
        start: (4, 4), voxels (d, h, w, 1) of their grid to mm.
        end: the same of the new one.
    """
    step = torch.linalg.solve(end, start).numpy()
    scale, shift = np.diag(step)[:3], step[:3, 3]
    return np.asarray((boxes.reshape(-1, 2, 3) * scale + shift).reshape(-1, 6))


def prepare(
    volumes: Sequence[BoxedVolume],
    settings: LocateSettings,
    plan: LocatePlan,
    watch: Watch,
    what: str,
) -> list[Seen]:
    """Reads and preprocesses volumes.

    Args:
        volumes: of a part.
        settings: of the run.
        plan: of the run.
        watch: wraps the volumes to show progress.
        what: words for that.

    Raises:
        InputError: a volume that cannot be read, or has another number of channels.
    """
    steps = preprocessing(settings)
    cache = Path(settings.cache) if settings.cache else None
    done = []
    for volume in watch(volumes, what):
        seen = _seen(volume, steps) if cache is None else _kept(volume, steps, cache)
        check_channels(seen, plan, volume.file)
        boxes = moved_boxes(volume.boxes, torch.linalg.inv(volume.grid.from_mm), seen.affine)
        done.append(Seen(volume.name, seen.array, boxes, seen.spacing))
    return done


def check_channels(volume: Volume, plan: LocatePlan, origin: object) -> None:
    """Refuses a volume of another number of channels than the run's.

    Raises:
        InputError: with both numbers.
    """
    found = volume.array.shape[0]
    if found != plan.channels:
        raise InputError(f"{origin}: has {found} channels, expected {plan.channels} as in training")


def _seen(volume: BoxedVolume, steps: Preprocessing) -> Volume:
    scan = read_volume(volume.file)
    if turned_grid(scan.shape, scan.affine)[0] != volume.grid.shape:
        raise InputError(f"{volume.file}: was another volume when the boxes were read")
    return steps.image(scan)


def _kept(volume: BoxedVolume, steps: Preprocessing, cache: Path) -> Volume:
    """The same from a memory-mapped file, which is made where it is missing."""
    mark = (str(volume.file.resolve()), volume.file.stat().st_mtime_ns, steps)
    key = hashlib.sha256(repr(mark).encode()).hexdigest()[:16]
    stem = f"{volume.name.replace('/', '-')}-{key}"
    array, facts = cache / f"{stem}.image.npy", cache / f"{stem}.json"
    if not facts.exists():
        made = _seen(volume, steps)
        cache.mkdir(parents=True, exist_ok=True)
        with atomic_path(array) as temporary:
            np.save(temporary, made.array.numpy())
        write_text(facts, json.dumps(made.affine.tolist()))
    affine = torch.tensor(json.loads(facts.read_text(encoding="utf-8")), dtype=torch.float64)
    # Copy-on-write: torch warns about read-only arrays, and nothing here writes to them.
    return Volume(torch.from_numpy(np.load(array, mmap_mode="c")), affine)
