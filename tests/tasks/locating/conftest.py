import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

SHAPE = (22, 20, 10)
LOCATED = 8


def _blobs(number: int) -> tuple[np.ndarray, np.ndarray, list[list[float]]]:
    """Noise with bright ellipsoids, (x, y, z), on a turned grid, and their boxes in voxels."""
    random = np.random.default_rng(number)
    affine = np.diag([-1.0 if number % 2 else 1.0, 1.2, -2.0 if number % 3 else 2.0, 1.0])
    affine[:3, 3] = random.uniform(-30, 30, 3)
    array = random.normal(0, 10, SHAPE)
    boxes = []
    for place in ((0.3, 0.3), (0.7, 0.65))[: (1, 2, 1, 0)[number % 4]]:
        centre = np.array([place[0] * SHAPE[0], place[1] * SHAPE[1], 5]) + random.uniform(-1, 1, 3)
        half = np.array([3.0, 2.5, 1.5])
        grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
        array[(((grid - centre) / half) ** 2).sum(-1) < 1] += 120
        boxes.append([*(centre - half), *(centre + half)])
    return array.astype(np.float32), affine, boxes


@pytest.fixture(scope="session")
def make_blobs() -> Callable[[Path], Path]:
    """Writes a folder of volumes with `boxes.csv`: of none to two lesions, two of a patient."""

    def make(root: Path) -> Path:
        root.mkdir(parents=True)
        columns = ("file", "patient", "x1", "y1", "z1", "x2", "y2", "z2")
        with (root / "boxes.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(columns)
            for number in range(LOCATED):
                array, affine, boxes = _blobs(number)
                name = f"blob_{number}.nii.gz"
                nibabel.save(nibabel.Nifti1Image(array, affine), root / name)
                for box in boxes or [[""] * 6]:
                    writer.writerow([name, f"patient {number // 2}", *box])
        return root

    return make


@pytest.fixture(scope="session")
def blob_settings() -> dict[str, Any]:
    """A run on the blobs that takes seconds."""
    return {
        "task": "locate",
        "boxes": "boxes.csv",
        "network": "unet",
        "patch": [8, 16, 16],
        "overlap": 0.25,
        "batch": 2,
        "epochs": 2,
        "epoch_steps": 2,
        "folds": 4,
        "selection": 0.3,
        "learning_rate": 0.003,
        "suppress": [4, 5, 5],
        "least": -10.0,
        "most": 20,
        "draws": 20,
        "accelerator": "cpu",
        "focal_from": 1,
    }


@pytest.fixture(scope="session")
def blob_run(
    tmp_path_factory: pytest.TempPathFactory,
    make_blobs: Callable[[Path], Path],
    blob_settings: dict[str, Any],
) -> Path:
    """A finished run on blobs, to be read and not changed; its data lie beside it."""
    from thirdaxis.tasks.locate import train
    from thirdaxis.tasks.settings_files import make_settings

    place = tmp_path_factory.mktemp("blobs")
    data = make_blobs(place / "data")
    settings = make_settings({"data": str(data), **blob_settings}, "test")
    train(settings, place / "run")  # type: ignore[arg-type]
    return place / "run"
