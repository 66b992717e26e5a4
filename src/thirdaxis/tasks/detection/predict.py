"""Whole scans to the lesions in them: one, or a folder that may be long."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from thirdaxis.atomic import write_text
from thirdaxis.data.lesions.detections import Detections, read_detections, write_detections
from thirdaxis.data.volume import Volume
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.batch import Done, check_folder, one_by_one
from thirdaxis.tasks.detection.finder import Finder, load_finder
from thirdaxis.tasks.detection.link import Linking
from thirdaxis.tasks.detection.measure import Boxes, Lesion, lesions_of
from thirdaxis.tasks.detection.pictures import lesion_figure
from thirdaxis.tasks.detection.slab import Looking, check_slab
from thirdaxis.tasks.detection.sources import Source, find_sources
from thirdaxis.tasks.detection.written import (
    DETECTIONS,
    LESIONS_CSV,
    LESIONS_JSON,
    lesions_csv,
    lesions_json,
    read_lesions,
    write_summary,
)
from thirdaxis.tasks.model import Model
from thirdaxis.tasks.pictures import save_figure
from thirdaxis.tasks.progress import Told, tell_nobody

DEEPLESION_MARGIN = 5 / 512
"""Of a slice: DeepLesion's boxes hold the diameters and so much on each side, 5 pixels of 512."""


def predict(
    model: str | Path | Model,
    inputs: Path,
    out: Path,
    looking: Looking | None = None,
    linking: Linking | None = None,
    *,
    pictures: int = 6,
    margin: float | None = None,
    overwrite: bool = False,
    accelerator: str | None = None,
    trust: bool = False,
    watch: Callable[[Sequence[Source]], Iterable[Source]] = lambda scans: scans,
    told: Told = tell_nobody,
    say: Callable[[str], None] = lambda line: None,
) -> Done[list[Lesion]]:
    """Finds lesions in scans; writes a folder for each scan, and tables of all.

    `OUT/SCAN/` has `lesions.csv` and `lesions.json`, a lesion an entry; `detections.json`, the
    boxes on all slices, each slice named `SCAN/NUMBER`; and a picture of each of the best lesions.
    `OUT/lesions.csv` and `OUT/detections.json` hold those of all scans. Of several scans, those
    that cannot be read or used are left out and told at the end, and those that were done before
    are not done again.

    Args:
        model: a run folder, or a trained model in any form that `load_model` reads.
        inputs: a CT as NIfTI, MetaImage or NRRD file, a folder of one DICOM series, a folder of
            such, a folder of DeepLesion, or one of its series.
        out: folder for all of it.
        looking: how the network goes through a scan; none takes windows, as in training.
        linking: how boxes of slices become lesions.
        pictures: lesions of a scan that are drawn, at most.
        margin: pixels that boxes leave around a lesion on each side; see `lesions_of`. None takes
            those of DeepLesion where the network was trained on it, else 0.
        overwrite: whether scans are done again whose results are there and whole.
        accelerator: `auto`, `cpu` or `gpu`; none takes the run's own.
        trust: whether a program that the model names as its network may be called.
        watch: wraps the scans to show progress.
        told: called with the slices done of the scan at hand, and their number.
        say: told the folder of each scan as it is written or found.

    Returns:
        What became of each scan; of those done now, the lesions.

    Raises:
        InputError: the only scan cannot be read, or the model is of another task.
        UsageError: slabs are asked for, and the network cannot run on them; `out` is a file.
    """
    looking, linking = looking or Looking(), linking or Linking()
    finder = load_finder(model, accelerator, trust=trust)
    if looking.mode == "slab":
        check_slab(finder.net)  # told before the first scan is read
        if finder.settings.fusion != "slicewise":
            say(
                f"slab: {finder.settings.fusion} was trained on windows of {finder.plan.seen} "
                "slices, beyond which there was nothing; scores differ, measure by how much"
            )
    if margin is not None and not 0 <= margin < math.inf:
        raise UsageError(f"margin is a number of pixels, 0 or more, not {margin}")
    scans = find_sources(inputs)
    check_folder(out)

    def look(scan: Source) -> list[Lesion]:
        volume, turned = _read(finder, scan)
        found = finder(turned, looking, told)
        around = margin
        if around is None:
            on_it = finder.settings.boxes is None
            around = DEEPLESION_MARGIN * max(turned.shape[1:]) if on_it else 0.0
        lesions = lesions_of(found, volume, turned, linking, around)
        about = {
            "scan": str(scan.place),
            "turned_shape": list(turned.shape),
            "network": finder.settings.network,
            "fusion": finder.settings.fusion,
            "mode": looking.mode,
            "margin_pixels": round(around, 3),
        }
        folder = out / scan.name
        folder.mkdir(parents=True, exist_ok=True)
        _draw(folder, scan.name, turned, lesions[:pictures])
        _write(folder, found, scan.slice_names(turned.shape[0]), lesions, linking, about)
        say(f"{folder}: {len(lesions)} lesion{'' if len(lesions) == 1 else 's'}")
        return lesions

    done = one_by_one(
        scans,
        look,
        lambda scan: not overwrite and _whole(out / scan.name),
        lambda scan: out / scan.name,
        watch=watch,
        say=say,
    )
    _write_all(out, done.whole)
    return done


def said(lesion: Lesion) -> str:
    """A lesion in a few words."""
    source = "mask" if lesion.measured_from == "mask" else "sides of the box"
    return (
        f"score {lesion.score:.2f}, {lesion.long_mm:.0f} × {lesion.short_mm:.0f} mm ({source}), "
        f"{lesion.slices} slice{'' if lesion.slices == 1 else 's'}"
    )


def _read(finder: Finder, scan: Source) -> tuple[Volume, Volume]:
    """A scan on its own grid, and turned to axial slices."""
    volume = scan.read()
    try:
        return volume, finder.turned(volume)
    except InputError as error:
        raise InputError(f"{scan.place}: {error}") from None


def _draw(folder: Path, name: str, turned: Volume, lesions: Sequence[Lesion]) -> None:
    for old in folder.glob("lesion-*.png"):
        old.unlink()
    for number, lesion in enumerate(lesions, 1):
        figure = lesion_figure(turned, lesion, f"{name}: lesion {number}, {said(lesion)}")
        save_figure(figure, folder / f"lesion-{number:02d}.png")


def _write(
    folder: Path,
    found: Boxes,
    names: Sequence[str],
    lesions: Sequence[Lesion],
    linking: Linking,
    about: Mapping[str, Any],
) -> None:
    """Writes the files of a scan, last the one that says it is done."""
    boxes = {}
    for number, name in enumerate(names):
        here = found.slices == number
        boxes[name] = torch.from_numpy(found.boxes[here]), torch.from_numpy(found.scores[here])
    write_detections(folder / DETECTIONS, boxes)
    write_text(folder / LESIONS_CSV, lesions_csv(lesions))
    write_text(folder / LESIONS_JSON, lesions_json(lesions, linking, about))


def _write_all(out: Path, names: Sequence[str]) -> None:
    if not names:
        return
    every: Detections = {}
    for name in names:
        every |= read_detections(out / name / DETECTIONS)
    write_detections(out / DETECTIONS, every)
    write_summary(out / LESIONS_CSV, [(name, out / name / LESIONS_JSON) for name in names])


def _whole(folder: Path) -> bool:
    """Whether a scan's files are there and can be read to their ends."""
    try:
        read_lesions(folder / LESIONS_JSON)
        read_detections(folder / DETECTIONS)
    except InputError:
        return False
    return (folder / LESIONS_CSV).is_file()
