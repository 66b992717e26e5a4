import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

RED, BLUE = 5, 9  # ids of the categories, which have labels 1 and 2
PARTS = {"train2017": 8, "val2017": 3}


@pytest.fixture(scope="session")
def make_coco() -> Callable[..., Path]:
    """Writes a folder in COCO's layout: red and blue rectangles on dark pictures of many sizes.

    Each picture of ``train2017`` has a red and maybe a blue one, but for the last, which has a box
    around a crowd alone; ids of categories have gaps, and are not in their order in the file.
    """

    def make(root: Path, parts: dict[str, int] = PARTS) -> Path:
        (root / "annotations").mkdir(parents=True)
        for part, count in parts.items():
            random = np.random.default_rng(len(part))
            (root / part).mkdir()
            images, annotations = [], []
            for number in range(count):
                height, width = (int(n) for n in random.integers(40, 60, 2))
                pixels = random.integers(0, 40, (height, width, 3), dtype=np.uint8)
                crowd = part == "train2017" and number == count - 1
                for category, channel in ((RED, 0), (BLUE, 2))[: 1 if number % 2 else 2]:
                    # Red ones lie in the left half, blue ones in the right half.
                    w, h = int(random.integers(10, 15)), int(random.integers(12, 25))
                    x = int(random.integers(0, width // 2 - w)) + (width // 2) * (category == BLUE)
                    y = int(random.integers(0, height - h))
                    pixels[y : y + h, x : x + w, channel] = 255
                    annotations.append(
                        {
                            "image_id": 100 + number,
                            "category_id": category,
                            "bbox": [x, y, w, h],
                            "iscrowd": int(crowd),
                        }
                    )
                name = f"{number:03d}.png"
                Image.fromarray(pixels).save(root / part / name)
                size = {"width": width, "height": height}
                images.append({"id": 100 + number, "file_name": name, **size})
            told = {
                "images": images,
                "annotations": annotations,
                "categories": [{"id": BLUE, "name": "blue"}, {"id": RED, "name": "red"}],
            }
            file = root / "annotations" / f"instances_{part}.json"
            file.write_text(json.dumps(told), encoding="utf-8")
        return root

    return make


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory, make_coco: Callable[..., Path]) -> Path:
    """Such a folder, to be read and not changed."""
    return make_coco(tmp_path_factory.mktemp("coco") / "made")


@pytest.fixture(scope="session")
def small_pretraining() -> dict[str, Any]:
    """Settings of a pretraining that takes seconds."""
    return {
        "task": "pretrain-detect",
        "network": "p3d:18ba-gn",
        "scales": [48, 64],
        "size": 64,
        "width": 8,
        "hidden": 16,
        "anchors": [8, 16, 32, 64, 128],
        "proposals_before": [100, 50],
        "proposals_after": [100, 20],
        "score_threshold": 0,
        "most": 10,
        "batch": 2,
        "epochs": 2,
        "epoch_steps": 2,
        "warmup": 0,
        "accelerator": "cpu",
        "precision": "32",
    }
