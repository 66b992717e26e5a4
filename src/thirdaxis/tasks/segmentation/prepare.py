"""Reads the cases of a data set once and keeps what the network sees, in memory or on disk."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thirdaxis.atomic import atomic_path, write_text
from thirdaxis.data.folder import Case, Folder, read_case, read_folder
from thirdaxis.data.grid import to_grid
from thirdaxis.data.volume import Volume
from thirdaxis.errors import InputError
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.preprocess import Preprocessing
from thirdaxis.tasks.segmentation.settings import SegmentSettings

LARGEST_PATCH = (48, 128, 128)
Watch = Callable[[Sequence[Case], str], Iterable[Case]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """One case as the network sees it.

    Args:
        name: of the case.
        image: (C, D, H, W) float32, normalised.
        label: (1, D, H, W) class indices.
        spacing: (d, h, w) in mm.
    """

    name: str
    image: Tensor
    label: Tensor
    spacing: tuple[float, float, float]


def data_folder(settings: SegmentSettings) -> Folder:
    """The data set of a run, with the run's classes, see `thirdaxis.data.folder.read_folder`."""
    return read_folder(settings.data, settings.labels)


def labelled_case(case: Case, labels: dict[int, str]) -> tuple[Volume, Volume]:
    """Reads a case that has to have a label map.

    Raises:
        InputError: no label map, or as `read_case`.
    """
    image, label = read_case(case, labels)
    if label is None:
        raise InputError(f"{case.images[0]}: the case {case.name!r} has no label map")
    return image, label


def make_plan(
    settings: SegmentSettings, folder: Folder, training: Sequence[Case], watch: Watch
) -> Plan:
    """Settles what the data set decides.

    Args:
        settings: of the run.
        folder: the data set.
        training: its training cases; their median spacing is taken where `median` is asked for,
            their median size where no patch is told.
        watch: wraps the cases to show progress.

    Returns:
        The plan.
    """
    spacings, extents = [], []
    for case in watch(training, "measuring scans"):
        image, _ = read_case(case, folder.labels)
        turned = to_grid(image, settings.orientation)
        spacings.append(turned.spacing)
        extents.append(np.multiply(turned.shape, turned.spacing))
    d, h, w = np.median(spacings, axis=0).tolist()
    median = (round(d, 4), round(h, 4), round(w, 4))
    seen = median if settings.spacing == "median" else settings.spacing
    judged = tuple(
        own if step is None else step for step, own in zip(seen or (None,) * 3, median, strict=True)
    )
    seen_size = (np.median(extents, axis=0) / judged).tolist()
    # segmentation-models-pytorch refuses pictures that its strides do not divide.
    whole_strides = settings.network.startswith("smp:")
    return Plan(
        labels=dict(folder.labels),
        channels=tuple(folder.modalities[index] for index in sorted(folder.modalities)),
        spacing=seen,
        anisotropy=max(judged) / min(judged),
        patch=settings.patch or usual_patch(seen_size, 32 if whole_strides else 8),
        window=settings.predict_patch,
    )


def usual_patch(size: Sequence[float], multiple: int = 8) -> tuple[int, int, int]:
    """A patch that holds most scans of a size whole, at most `LARGEST_PATCH`.

    A patch a little smaller than the scans would cost up to eight windows a scan.

    Args:
        size: (d, h, w) in voxels.
        multiple: that height and width are rounded up to; depth is rounded up to a multiple of 8.
    """
    d, h, w = (
        min(step * math.ceil(length / step), most)
        for length, step, most in zip(size, (8, multiple, multiple), LARGEST_PATCH, strict=True)
    )
    return d, h, w


def prepare(
    cases: Sequence[Case],
    plan: Plan,
    steps: Preprocessing,
    cache: Path | None,
    watch: Watch,
    what: str,
) -> list[Prepared]:
    """Reads and preprocesses cases.

    Args:
        cases: with label maps.
        plan: of the run.
        steps: the preprocessing.
        cache: folder where prepared volumes are kept as memory-mapped `.npy`; none keeps them in
            memory.
        watch: wraps the cases to show progress.
        what: word for the progress display.

    Returns:
        The prepared cases, in order.

    Raises:
        InputError: on a case that cannot be read or has no label map.
    """
    done = []
    for case in watch(cases, what):
        if cache is None:
            done.append(_prepare(case, plan, steps))
        else:
            done.append(_prepare_on_disk(case, plan, steps, cache))
    return done


def _prepare(case: Case, plan: Plan, steps: Preprocessing) -> Prepared:
    image, label = labelled_case(case, plan.labels)
    seen = steps.image(image)
    return Prepared(case.name, seen.array, steps.labels(label).array.contiguous(), seen.spacing)


def _prepare_on_disk(case: Case, plan: Plan, steps: Preprocessing, cache: Path) -> Prepared:
    files = [*case.images, *([case.label] if case.label else [])]
    of_value = case.of_value
    marks = [(str(f.resolve()), f.stat().st_mtime_ns, f.stat().st_size) for f in files]
    key = hashlib.sha256(repr((marks, of_value, plan.plain(), steps)).encode()).hexdigest()[:16]
    image_path, label_path, facts_path = (
        cache / f"{case.name}-{key}{end}" for end in (".image.npy", ".label.npy", ".json")
    )
    if not facts_path.exists():
        made = _prepare(case, plan, steps)
        cache.mkdir(parents=True, exist_ok=True)
        for path, array in ((image_path, made.image), (label_path, made.label)):
            with atomic_path(path) as temporary:
                np.save(temporary, array.numpy())
        write_text(facts_path, json.dumps({"spacing": made.spacing}))
    d, h, w = json.loads(facts_path.read_text(encoding="utf-8"))["spacing"]
    # Copy-on-write maps: torch warns about read-only arrays, and nothing here writes to them.
    image, label = (
        torch.from_numpy(np.load(path, mmap_mode="c")) for path in (image_path, label_path)
    )
    return Prepared(case.name, image, label, (d, h, w))
