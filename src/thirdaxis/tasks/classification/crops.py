"""The boxes of a data set's scans as the network sees them, read once and held."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thirdaxis.atomic import atomic_path, write_text
from thirdaxis.data.crops import read_crop
from thirdaxis.data.intensity import Percentiles, Window, ZScore
from thirdaxis.data.samples import Sample
from thirdaxis.errors import InputError
from thirdaxis.tasks.classification.cases import Cases
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.engine import Watch

Intensity = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Crops:
    """Boxes with margins, to be cut to their size.

    Args:
        names: of the samples.
        boxes: one a sample, ``(C, d, h, w)``; float32 as the network sees it, or uint8.
        margin: voxels on every side that are not part of the box.
        thickness: distance of the slices of each, in mm.
        intensity: makes float32 of boxes held as uint8.
    """

    names: tuple[str, ...]
    boxes: tuple[Tensor, ...]
    margin: int
    thickness: tuple[float, ...]
    intensity: Intensity

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.boxes)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(C, d, h, w) of a box without its margins."""
        channels, *sides = self.boxes[0].shape
        d, h, w = (side - 2 * self.margin for side in sides)
        return channels, d, h, w

    def image(self, number: int, shift: tuple[int, int, int] = (0, 0, 0)) -> Tensor:
        """A box, shifted by at most the margin; ``(C, d, h, w)`` float32."""
        box = self.boxes[number]
        for axis, (move, side) in enumerate(zip(shift, self.shape[1:], strict=True), start=1):
            box = box.narrow(axis, self.margin + move, side)
        return self.intensity(box.float()) if box.dtype == torch.uint8 else box


def prepare(cases: Cases, settings: ClassifySettings, watch: Watch, what: str) -> Crops:
    """Reads the scans of samples and cuts their boxes.

    Args:
        cases: the samples.
        settings: of the run; its `cache` is where boxes are kept as memory-mapped `.npy`.
        watch: wraps the samples to show progress.
        what: word for the progress display.

    Raises:
        InputError: on a scan that cannot be read, or boxes that differ in size or channels.
    """
    intensity, margin = intensity_of(settings), settings.shift()
    names = tuple(cases.samples)
    if cases.set is not None:
        boxes = tuple(_of_set(cases, name, settings, margin) for name in names)
        return Crops(names, boxes, margin, (1.0,) * len(names), intensity)
    found: list[tuple[Tensor, float]] = []
    for sample in watch(list(cases.samples.values()), what):
        box = _held(sample, settings, intensity)
        if found and box[0].shape != found[0][0].shape:
            first, other = (tuple(one.shape) for one in (found[0][0], box[0]))
            raise InputError(
                f"{sample.file}: its box has {other[0]} channels and {other[1:]} voxels, that of "
                f"{names[0]} {first[0]} and {first[1:]}; a size in voxels makes them alike, scans "
                "of other channels cannot be together"
            )
        found.append(box)
    return Crops(
        names,
        tuple(image for image, _ in found),
        margin,
        tuple(thickness for _, thickness in found),
        intensity,
    )


def intensity_of(settings: ClassifySettings) -> Intensity:
    """What makes network numbers of intensities."""
    kind = settings.intensity or ("bytes" if settings.medmnist else "zscore")
    if settings.window is not None:
        return Window(*settings.window)
    if kind == "bytes":
        return _bytes
    return Percentiles() if kind == "percentiles" else ZScore()


def _bytes(image: Tensor) -> Tensor:
    return image / 255


def _held(sample: Sample, settings: ClassifySettings, intensity: Intensity) -> tuple[Tensor, float]:
    if settings.cache is None:
        return _cut(sample, settings, intensity)
    files = [sample.file, *([sample.mask] if sample.mask else [])]
    marks = [(str(f.resolve()), f.stat().st_mtime_ns, f.stat().st_size) for f in files]
    told = (marks, sample.centre, sample.spacing, settings.box(), intensity)
    key = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
    folder = Path(settings.cache)
    box_path, facts_path = (folder / f"{sample.name}-{key}{end}" for end in (".npy", ".json"))
    if not facts_path.exists():
        image, thickness = _cut(sample, settings, intensity)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(box_path) as temporary:
            np.save(temporary, image.numpy())
        write_text(facts_path, json.dumps({"thickness": thickness}))
    # A copy-on-write map: torch warns about read-only arrays, and nothing here writes to it.
    image = torch.from_numpy(np.load(box_path, mmap_mode="c"))
    return image, json.loads(facts_path.read_text(encoding="utf-8"))["thickness"]


def _cut(sample: Sample, settings: ClassifySettings, intensity: Intensity) -> tuple[Tensor, float]:
    crop = read_crop(sample, settings.box())
    return intensity(crop.array).contiguous(), crop.spacing[0]


def _of_set(cases: Cases, name: str, settings: ClassifySettings, margin: int) -> Tensor:
    assert cases.set is not None
    part, number = cases.places[name]
    image = cases.set.images[part][number]
    if settings.size is not None and tuple(image.shape[1:]) != settings.size:
        sized = F.interpolate(image[None].float(), size=settings.size, mode="area")
        image = sized[0].round().to(torch.uint8)
    return F.pad(image, (margin,) * 6) if margin else image
