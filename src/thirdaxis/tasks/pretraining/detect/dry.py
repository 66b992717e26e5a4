"""A pretraining on photographs with boxes without its data: one step on stand-ins."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from thirdaxis.tasks.detection.dry import SIDE, Trunk
from thirdaxis.tasks.engine import say_nothing
from thirdaxis.tasks.pretraining.detect.cases import read_photographs
from thirdaxis.tasks.pretraining.detect.network import make_photograph_detector
from thirdaxis.tasks.pretraining.detect.plan import SLICES, DetectPretrainPlan
from thirdaxis.tasks.pretraining.detect.run import PRETRAIN_DETECT
from thirdaxis.tasks.pretraining.detect.settings import DetectPretrainSettings

CATEGORIES = 80  # of MS-COCO
PICTURES = 4


def network_of(settings: DetectPretrainSettings) -> tuple[nn.Module, tuple[int, int, int]]:
    """The network of a run as it would be, and the size of the largest pictures that it sees."""
    names = tuple(map(str, range(CATEGORIES)))
    plan = DetectPretrainPlan(names, tuple(range(CATEGORIES)), settings.size)
    net = make_photograph_detector(settings, plan, load=False).net
    side = max(settings.scales)
    return Trunk(net), (SLICES, side, side)


def small_of(net: nn.Module, size: tuple[int, int, int]) -> tuple[int, int, int]:
    """The size of stand-ins."""
    return size[0], min(SIDE, size[1]), min(SIDE, size[2])


def stand_ins(root: Path, side: int) -> None:
    """Writes pictures of noise with a bright square each, and their boxes in COCO's form."""
    (root / "pictures").mkdir()
    low, high = side // 4, side * 3 // 4
    images, annotations = [], []
    for number in range(PICTURES):
        noise = np.random.default_rng(number).integers(0, 128, (side, side, 3), dtype=np.uint8)
        noise[low:high, low:high] = 255
        name = f"{number}.png"
        Image.fromarray(noise).save(root / "pictures" / name)
        images.append({"id": number, "file_name": name, "width": side, "height": side})
        box = [low, low, high - low, high - low]
        annotations.append({"image_id": number, "category_id": 1, "bbox": box})
    told = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "square"}],
    }
    (root / "instances_pictures.json").write_text(json.dumps(told), encoding="utf-8")


def step(
    settings: DetectPretrainSettings, size: tuple[int, int, int], root: Path
) -> tuple[float, str]:
    """Trains one step on stand-ins and looks at a held-out one.

    Args:
        settings: of the run, made small.
        size: (3, h, w) that the network sees.
        root: an empty folder for the stand-ins.

    Returns:
        The loss, and the answer in words.
    """
    side = size[-1]
    stand_ins(root, side)
    told = {"data": str(root), "annotations": "instances_pictures.json", "pictures": None}
    told |= {"validation": None, "validation_pictures": None}
    settings = settings.model_copy(update=told | {"scales": (side,), "size": side, "warmup": 0.0})
    sets = read_photographs(settings, say_nothing)
    first = PRETRAIN_DETECT.first_step(settings, sets, root)
    batch = next(iter(first.feed.val_dataloader()))
    with torch.no_grad():
        answer = first.module.net.eval()(batch["image"])[0]
    return first.loss, f"{len(answer['boxes'])} boxes"
