"""Average precision of boxes, as the COCO challenge counts it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from thirdaxis.errors import InputError

NAMES = {"map": "ap", "map_50": "ap50", "map_75": "ap75"}


def average_precision(
    found: Mapping[str, tuple[Any, Any]], truth: Mapping[str, Any]
) -> dict[str, float]:
    """COCO's average precision of one class, by torchmetrics and pycocotools.

    Areas are those of COCO, x2 - x1 wide, and each detection is matched with one lesion. Of the
    detections of an image the 100 of the highest scores count.

    Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

    Args:
        found: image -> boxes ``(K, 4)`` and scores ``(K,)``; as in `froc`.
        truth: image -> boxes ``(L, 4)``; all images that count.

    Returns:
        ``ap``, the mean over overlaps of 0.5, 0.55 … 0.95, ``ap50`` and ``ap75``; nan without
        lesions.

    Raises:
        InputError: no images, or detections on an image that the truth does not name.
        ImportError: pycocotools is missing.
    """
    ones = {name: (boxes, scores, (0,) * len(scores)) for name, (boxes, scores) in found.items()}
    only = {
        name: (boxes, (0,) * len(boxes), (False,) * len(boxes)) for name, boxes in truth.items()
    }
    return average_precision_of_classes(ones, only)[0]


def average_precision_of_classes(
    found: Mapping[str, tuple[Any, Any, Any]],
    truth: Mapping[str, tuple[Any, Any, Any]],
) -> tuple[dict[str, float], dict[int, float]]:
    """COCO's mean average precision over classes, by torchmetrics and pycocotools.

    A detection that lies in a box around a crowd of its class counts as neither right nor wrong,
    and such a box need not be found. Classes that are nowhere in the truth do not count. Of the
    detections of a class on an image the 100 of the highest scores count.

    Args:
        found: image -> boxes ``(K, 4)``, scores ``(K,)`` and classes ``(K,)``.
        truth: image -> boxes ``(L, 4)``, classes ``(L,)`` and whether each holds a crowd ``(L,)``;
            all images that count.

    Returns:
        ``ap``, the mean over classes and overlaps of 0.5, 0.55 … 0.95, ``ap50`` and ``ap75``; and
        class -> its ``ap``. All are nan where there is nothing to find.

    Raises:
        InputError: no images, or detections on an image that the truth does not name.
        ImportError: pycocotools is missing.
    """
    import pycocotools  # noqa: F401  (torchmetrics asks for it late, and in many lines)
    from torchmetrics.detection import MeanAveragePrecision

    strange = [name for name in found if name not in truth]
    if strange or not truth:
        told = f"detections on {strange[0]!r}, which is no image of the truth" if strange else ""
        raise InputError(told or "an average precision needs at least one image")
    metric = MeanAveragePrecision(class_metrics=True)
    metric.warn_on_many_detections = False
    for name, (wanted, classes, crowds) in truth.items():
        boxes, scores, labels = found.get(name, ((), (), ()))
        crowd = torch.as_tensor(crowds, dtype=torch.long)
        metric.update(
            [{**_item(boxes, labels), "scores": torch.as_tensor(scores, dtype=torch.float32)}],
            [{**_item(wanted, classes), "iscrowd": crowd}],
        )
    numbers = metric.compute()
    known = float(numbers["map"]) >= 0  # -1 where there is nothing to find
    told_all = {ours: float(numbers[name]) if known else torch.nan for name, ours in NAMES.items()}
    by_class = zip(
        numbers["classes"].reshape(-1).tolist(),
        numbers["map_per_class"].reshape(-1).tolist(),
        strict=True,
    )
    return told_all, {int(one): ap if ap >= 0 else torch.nan for one, ap in by_class}


def _item(boxes: Any, labels: Any) -> dict[str, Tensor]:
    return {
        "boxes": torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.as_tensor(labels, dtype=torch.long),
    }
