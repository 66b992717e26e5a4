from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thirdaxis.data.lesions.ct_png import write_ct_png

COLUMNS = (
    "File_name,Measurement_coordinates,Bounding_boxes,Coarse_lesion_type,Possibly_noisy,"
    "Spacing_mm_px_,Image_size,Train_Val_Test"
)
SIDE = 64


@pytest.fixture(scope="session")
def make_deeplesion() -> Callable[..., Path]:
    """Writes a folder as DeepLesion lies on disk: a bright disc on one slice of each series."""

    def make(
        root: Path, parts: tuple[int, ...] = (1, 1, 1, 1, 1, 1, 2, 2, 3, 3), slices: int = 5
    ) -> Path:
        random = np.random.default_rng(0)
        y, x = np.mgrid[:SIDE, :SIDE]
        rows = [COLUMNS]
        for number, part in enumerate(parts, 1):
            series = f"{number:06d}_01_01"
            (root / "Images_png" / series).mkdir(parents=True)
            centre, radius = random.uniform(18, SIDE - 18, 2), random.uniform(6, 9)
            disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
            middle = 10 + slices // 2
            for slice_number in range(10, 10 + slices):
                hu = random.normal(-200, 60, (SIDE, SIDE))
                hu[disc] += 900 if slice_number == middle else 300
                write_ct_png(root / "Images_png" / series / f"{slice_number:03d}.png", hu)
            cx, cy = centre + 1  # the file counts from 1
            ends = [(cx - radius, cy), (cx + radius, cy), (cx, cy - radius), (cx, cy + radius)]
            recist = ", ".join(f"{value:.3f}" for end in ends for value in end)
            far = radius + 1
            box = ", ".join(f"{v:.3f}" for v in (cx - far, cy - far, cx + far, cy + far))
            spacing = (2, 5, 1)[number % 3]
            rows.append(
                f'{series}_{middle:03d}.png,"{recist}","{box}",5,0,"0.8, 0.8, {spacing}",'
                f'"{SIDE}, {SIDE}",{part}'
            )
        (root / "DL_info.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        return root

    return make


@pytest.fixture(scope="session")
def small_detector() -> dict[str, Any]:
    """Settings of a detector that takes a second to train a little."""
    return {
        "task": "detect",
        "network": "timm:test_resnet",
        "fusion": "tsm",
        "size": 64,
        "width": 16,
        "hidden": 32,
        "anchors": [12, 20],
        "batch": 2,
        "epochs": 2,
        "epoch_steps": 2,
        "warmup": 0,
        "learning_rate": 0.005,
        "reference_batch": None,
        "augment": "deeplesion",
        "draws": 20,
        "most": 10,
        "accelerator": "cpu",
    }
