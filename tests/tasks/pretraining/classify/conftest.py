from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

LEVELS = {"dark": 60, "middling": 120, "bright": 190}


@pytest.fixture(scope="session")
def write_levels() -> Callable[..., Path]:
    """Writes noise of three levels, a folder of each, as JPEG."""

    def written(root: Path, each: int = 8, seed: int = 0) -> Path:
        random = np.random.default_rng(seed)
        for name, level in LEVELS.items():
            (root / name).mkdir(parents=True)
            for number in range(each):
                pixels = random.normal(level, 20, (36, 40, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / name / f"{number}.jpg")
        return root

    return written


@pytest.fixture(scope="session")
def levels(tmp_path_factory: pytest.TempPathFactory, write_levels: Callable[..., Path]) -> Path:
    """Training and held-out pictures of three classes; to be read and not changed."""
    root = tmp_path_factory.mktemp("levels")
    write_levels(root / "train", 8)
    write_levels(root / "val", 5, seed=1)
    return root


@pytest.fixture(scope="session")
def pretrain_values(levels: Path) -> dict[str, Any]:
    """Settings of a pretraining of seconds: two epochs of three steps."""
    return {
        "task": "pretrain-classify",
        "data": str(levels),
        "network": "timm:test_resnet",
        "size": 32,
        "batch": 8,
        "reference_batch": None,
        "learning_rate": 0.05,
        "epochs": 2,
        "accelerator": "cpu",
    }
