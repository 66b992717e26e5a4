"""Outlines made from diameters and boxes beside those that radiologists drew, on lung nodules.

Each nodule is measured in the slice where it is largest: the diameters of its drawn outline, and
the box 5 pixels around them, as DeepLesion gives lesions. From these alone an outline is made and
compared with the drawn one (Dice).

    python benchmarks/outlines.py lidc_nodules
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tables

from thirdaxis.data.grid import to_grid
from thirdaxis.data.lesions.grabcut import QUADRILATERAL, grabcut
from thirdaxis.data.lesions.pixels import slice_pixels
from thirdaxis.data.lesions.recist import extent, recist
from thirdaxis.data.pairs import find_pairs
from thirdaxis.data.volume import read_labels, read_volume

WIDE, LUNG = (-1024.0, 2050.0), (-1024.0, 400.0)
Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # HU, drawn, box, diameters


def read(folder: Path) -> tuple[list[Case], int]:
    """The largest slice of each nodule, and how many are too thin to be measured."""
    cases, thin = [], 0
    for _, image, label in find_pairs(folder):
        drawn = to_grid(read_labels(label)).array[0].numpy() > 0
        number = int(drawn.sum(axis=(1, 2)).argmax())
        ends = recist(drawn[number].astype(float))
        hu = to_grid(read_volume(image)).array[0, number].numpy()
        if not np.isfinite(ends).all():
            thin += 1
            continue
        cases.append((hu, drawn[number], extent(ends, 5.0), ends))
    return cases, thin


def by_grabcut(
    window: tuple[float, float], iterations: int, diameters: bool
) -> Callable[[Case], np.ndarray]:
    def outline(case: Case) -> np.ndarray:
        hu, _, box, ends = case
        pixels = slice_pixels(hu, window, shift=0).round().byte().numpy()
        return grabcut(pixels, box, ends if diameters else None, iterations)

    return outline


def quadrilateral(case: Case) -> np.ndarray:
    import cv2

    mask = np.zeros(case[0].shape, np.uint8)
    ends = np.rint(case[3].reshape(4, 2)[QUADRILATERAL]).astype(np.int32)
    return cv2.fillPoly(mask, [ends], 1) > 0


def ellipse(case: Case) -> np.ndarray:
    """With the long diameter as its axis and the short one's length across it."""
    long1, long2, short1, short2 = case[3].reshape(4, 2)
    centre, along = (long1 + long2) / 2, (long2 - long1) / np.linalg.norm(long2 - long1)
    rows, columns = np.indices(case[0].shape)
    x, y = columns - centre[0], rows - centre[1]
    major = np.linalg.norm(long2 - long1) / 2
    minor = max(np.linalg.norm(short2 - short1) / 2, 0.5)
    return ((x * along[0] + y * along[1]) / major) ** 2 + (
        (y * along[0] - x * along[1]) / minor
    ) ** 2 <= 1


MADE: dict[str, Callable[[Case], np.ndarray]] = {
    "GrabCut, 3 iterations, -1024 to 2050 HU": by_grabcut(WIDE, 3, True),
    "GrabCut, 1 iteration": by_grabcut(WIDE, 1, True),
    "GrabCut, 10 iterations": by_grabcut(WIDE, 10, True),
    "GrabCut, 3 iterations, -1024 to 400 HU": by_grabcut(LUNG, 3, True),
    "GrabCut, box alone": by_grabcut(WIDE, 3, False),
    "quadrilateral of the diameters": quadrilateral,
    "ellipse of the diameters": ellipse,
}


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="LIDC nodules: images/ and masks/")
    told = parser.parse_args()
    cases, thin = read(told.folder)
    lines = [
        f"{len(cases)} nodules of LIDC-IDRI (crops of 43 to 109 pixels; {thin} more are too thin "
        "to be measured), each in its largest slice. Dice with the consensus of the readers'",
        "outlines; the window of HU is the one that GrabCut sees as 0 to 255.",
        "",
        "| outline from | mean Dice | median | lowest tenth | ms each |",
        "|---|---|---|---|---|",
    ]
    for name, make in MADE.items():
        start = time.perf_counter()
        found = [make(case) for case in cases]
        each = (time.perf_counter() - start) / len(cases) * 1e3
        scores = [dice(mask, case[1]) for mask, case in zip(found, cases, strict=True)]
        low, middle = np.percentile(scores, [10, 50])
        lines.append(f"| {name} | {np.mean(scores):.3f} | {middle:.3f} | {low:.3f} | {each:.1f} |")
    packages = tables.versions("opencv-python-headless", "numpy")
    tables.leave("outlines", "Outlines of lesions from their diameters", [*lines, "", packages])


if __name__ == "__main__":
    main()
