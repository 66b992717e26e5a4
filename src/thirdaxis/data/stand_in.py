"""Small random scans in place of a data set that is not there."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np

SHARE = 4


def write_stand_in(
    root: Path,
    shape: Sequence[int],
    labels: Mapping[int, str],
    *,
    cases: int = 4,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    between: tuple[float, float] = (0.0, 1000.0),
    seed: int = 0,
) -> list[str]:
    """Writes a Decathlon folder of noise with a box of every label.

    Args:
        root: an empty folder.
        shape: (d, h, w) of the scans; d runs from inferior to superior.
        labels: label value -> name, background too.
        cases: how many.
        spacing: (d, h, w) in mm.
        between: lowest and highest intensity of the noise.
        seed: of it.

    Returns:
        The file names of the scans.
    """
    random = np.random.default_rng(seed)
    affine = np.diag([*reversed(spacing), 1.0])
    sides = tuple(reversed(shape))
    names = [f"case_{number}.nii.gz" for number in range(cases)]
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for name in names:
        found = np.zeros(sides, np.uint8)
        for place, value in enumerate(labels):
            starts = [(place * side) // len(labels) for side in sides]
            box = [
                slice(a, a + max(2, side // SHARE)) for a, side in zip(starts, sides, strict=True)
            ]
            found[tuple(box)] = value
        noise = random.uniform(*between, sides).astype(np.float32)
        for folder, array in (("imagesTr", noise), ("labelsTr", found)):
            nibabel.Nifti1Image(array, affine).to_filename(root / folder / name)
    about = {
        "labels": {str(value): name for value, name in labels.items()},
        "modality": {"0": "stand-in"},
        "training": [{"image": f"imagesTr/{name}", "label": f"labelsTr/{name}"} for name in names],
    }
    (root / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
    return names


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes a CSV table with a line of column names."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
