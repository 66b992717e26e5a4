"""Lesion phantoms in the layout of DeepLesion: a set on which only neighbouring slices tell.

Each key slice shows nodules, which are its lesions, and vessels that look like them: what the
slice shows of a vessel is drawn as what it would show of a nodule, carried on through the slices.
"""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from thirdaxis.atomic import atomic_folder
from thirdaxis.data.lesions.recist import extent
from thirdaxis.data.phantoms.nodules import by_patient, read_nodules
from thirdaxis.data.phantoms.scene import FIELD, Draw, Scene, Thing, scene
from thirdaxis.data.phantoms.shapes import lens
from thirdaxis.data.phantoms.volumes import HEADS, box_rows, write_series
from thirdaxis.errors import InputError, UsageError

COLUMNS = (
    *("File_name", "Patient_index", "Study_index", "Series_ID", "Key_slice_index"),
    *("Measurement_coordinates", "Bounding_boxes", "Lesion_diameters_Pixel_"),
    *("Normalized_lesion_location", "Coarse_lesion_type", "Possibly_noisy", "Slice_range"),
    *("Spacing_mm_px_", "Image_size", "DICOM_windows", "Patient_gender", "Patient_age"),
    "Train_Val_Test",
)
"""Of DeepLesion's own table."""
SHARES = (0.70, 0.15, 0.15)
THICKNESSES = (1.0, 5.0)
MARGIN = 5.0
"""Pixels around both diameters in DeepLesion's boxes, on slices of 512 pixels."""
LUNG_KIND = 5
SMALLEST, LARGEST = 64, 512
ABOUT = "phantoms.json"
NOTES = {
    "synthetic": "Synthetic: drawn by thirdaxis, no patient's image. Numbers on it say nothing "
    "about real lesions.",
    "semi-synthetic": "Semi-synthetic: real lung nodules of LIDC-IDRI (CC BY 3.0) pasted into "
    "synthetic slices, and vessels made of such nodules' cross-sections. Numbers on it are not "
    "numbers on real scans.",
}


@dataclass(frozen=True)
class Series:
    """A series to be drawn: whose, in which part of the set (1, 2, 3), and how thick (mm)."""

    patient: int
    study: int
    part: int
    thickness: float

    @property
    def name(self) -> str:
        """Its folder's."""
        return f"{self.patient:06d}_{self.study:02d}_01"


def write_phantoms(
    folder: str | Path,
    series: int,
    *,
    size: int = 128,
    seed: int = 0,
    nodules: str | Path | None = None,
    covered: float = 0.5,
    volumes: bool = False,
    watch: Callable[[Sequence[Series]], Iterable[Series]] = iter,
) -> int:
    """Writes a set of phantoms: `DL_info.csv`, `Images_png`, and what it is.

    Or, for detectors of whole volumes, `images/*.nii.gz` and `boxes.csv` in place of these two,
    see `thirdaxis.data.lesions.volumes`; one seed is one set, whichever of the two is written.

    Beside the official files, `things.csv` tells all nodules and vessels of the key slices, and
    `README.txt` and `phantoms.json` that the set is synthetic, or semi-synthetic.

    Slices show 64 mm. Half of the series have slices of 1 mm, half of 5 mm, which are averages
    of fine slices of 0.5 mm. Lesions are boxed as DeepLesion does, by both diameters and a margin
    of 5 pixels of 512; on smaller slices the margin is smaller in proportion. Patients have one
    or two series, and 70, 15 and 15 % of the patients are for training, validation and testing.

    Source of the layout: Yan et al., "DeepLesion: automated mining of large-scale lesion
    annotations", Journal of Medical Imaging 5(3), 2018.

    Args:
        folder: to make; it appears whole or not at all.
        series: how many.
        size: pixels along each side of a slice.
        seed: one seed is one set.
        nodules: folder of real nodules as `thirdaxis prepare lidc` writes it; they take the place
            of drawn ones, each patient's in one part of the set.
        covered: share of the nodules over and under which vessels end that look like them but for
            a turn, so that no slice by itself tells them, only the comparison of slices.
        volumes: whether NIfTI files are written, and boxes through slices.
        watch: goes over the series, to show progress.

    Returns:
        How many lesions the set has.

    Raises:
        UsageError: fewer than 6 series, a size outside 64 to 512, a negative seed, or a share
            outside 0 to 1.
        InputError: the folder holds something, or nodules that cannot be read.
        OSError: the disk is full or the place not writable.
    """
    folder = Path(folder)
    _check(series, size, seed, covered)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists already; remove it or choose another folder")
    chances = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    every = _dealt(series, chances)
    draws: Sequence[Draw] = [lens] * 3
    if nodules is not None:
        draws = by_patient(read_nodules(Path(nodules)), SHARES, chances)
    lesions, things, boxes = [], [], []
    with atomic_folder(folder) as draft:
        for number, one in enumerate(watch(every)):
            random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, number)))
            made = scene(random, size, one.thickness, draws[one.part - 1], covered)
            first = int(random.integers(1, 61))
            if volumes:
                file = f"images/{one.name}.nii.gz"
                write_series(draft / file, made)
                margin = MARGIN / 512 * FIELD
                boxes += box_rows(file, str(one.patient), one.part, made, margin)
            else:
                _write_slices(draft / "Images_png" / one.name, made.slices, first)
            person = ["MF"[int(random.integers(2))], f"{random.integers(20, 90)}.0"]
            key = first + len(made.slices) // 2
            for thing in made.things:
                row = _row(one, made, thing, first, key, person)
                more = [f"{thing.contrast:.1f}", str(int(thing.covered))]
                things.append([row[0], thing.kind, *row[5:8], *more])
                if thing.kind == "nodule":
                    lesions.append(row)
        if volumes:
            _write_table(draft / "boxes.csv", HEADS, boxes)
        else:
            _write_table(draft / "DL_info.csv", COLUMNS, lesions)
        heads = ("File_name", "kind", *COLUMNS[5:8], "contrast_hu", "covered")
        _write_table(draft / "things.csv", heads, things)
        kind = "synthetic" if nodules is None else "semi-synthetic"
        told = {"kind": kind, "series": series, "size": size, "seed": seed, "covered": covered}
        told |= {"note": NOTES[kind]}
        (draft / ABOUT).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        layout = ", volumes with boxes" if volumes else " in the layout of DeepLesion"
        (draft / "README.txt").write_text(
            f"Lesion phantoms{layout}. {NOTES[kind]}\n", encoding="utf-8"
        )
    return len(lesions)


def phantom_note(folder: str | Path) -> str | None:
    """What has to be said wherever numbers or pictures of a set of phantoms are shown.

    Args:
        folder: of a data set.

    Returns:
        A sentence or two; none where the set is none of phantoms.
    """
    path = Path(folder) / ABOUT
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["note"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not what `thirdaxis prepare phantoms` writes") from None


def _check(series: int, size: int, seed: int, covered: float) -> None:
    if series < 6:
        raise UsageError(f"phantoms for training, validation and testing need 6 {series=} or more")
    if not SMALLEST <= size <= LARGEST or size % 32:
        raise UsageError(f"{size=}: slices are {SMALLEST} to {LARGEST} pixels, a multiple of 32")
    if seed < 0:
        raise UsageError(f"{seed=} is below 0")
    if not 0 <= covered <= 1:
        raise UsageError(f"{covered=} is a share, 0 to 1")


def _dealt(series: int, random: np.random.Generator) -> list[Series]:
    """Series dealt out to patients, patients to parts, thin and thick ones in turn in each part."""
    studies: list[int] = []
    while sum(studies) < series:
        studies.append(min(1 + int(random.random() < 0.25), series - sum(studies)))
    patients = len(studies)
    counts = [max(1, round(share * patients)) for share in SHARES[1:]]
    parts = np.repeat([1, 2, 3], [patients - sum(counts), *counts])
    random.shuffle(parts)
    seen = {1: 0, 2: 0, 3: 0}
    found = []
    for patient, (count, part) in enumerate(zip(studies, parts.tolist(), strict=True), start=1):
        for study in range(1, count + 1):
            found.append(Series(patient, study, part, THICKNESSES[seen[part] % 2]))
            seen[part] += 1
    return found


def _write_slices(folder: Path, slices: np.ndarray, first: int) -> None:
    folder.mkdir(parents=True)
    for number, picture in enumerate(slices, start=first):
        values = (picture.astype(np.int32) + 32768).astype(np.uint16)
        Image.fromarray(values).save(folder / f"{number:03d}.png", compress_level=1)


def _row(
    one: Series, made: Scene, thing: Thing, first: int, key: int, person: list[str]
) -> list[str]:
    size = made.slices.shape[1]
    box = extent(thing.recist, MARGIN * size / 512)
    ends = thing.recist.reshape(2, 2, 2)
    diameters = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    centre = [(box[0] + box[2]) / 2 / size, (box[1] + box[3]) / 2 / size, 0.5]
    return [
        f"{one.name}_{key:03d}.png",
        *(str(one.patient), str(one.study), "1", str(key)),
        *map(_numbers, (thing.recist + 1, box + 1, diameters, centre)),  # counted from 1
        *(str(LUNG_KIND), "0"),
        f"{first}, {first + len(made.slices) - 1}",
        _numbers([made.pixel, made.pixel, made.thickness]),
        f"{size}, {size}",
        "-1500, 500",
        *person,
        str(one.part),
    ]


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _write_table(path: Path, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([heads, *rows])
