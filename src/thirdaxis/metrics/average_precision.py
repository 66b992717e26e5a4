"""Average precision of boxes, as the COCO challenge counts it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from thirdaxis.errors import InputError

NAMES = {"map": "ap", "map_50": "ap50", "map_75": "ap75"}


def average_precision(
    found: Mapping[str, tuple[Any, Any]], truth: Mapping[str, Any], *, most: int = 100
) -> dict[str, float]:
    """COCO's average precision of one class, by torchmetrics and pycocotools.

    Areas are those of COCO, x2 - x1 wide, and each detection is matched with one lesion.

    Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

    Args:
        found: image -> boxes ``(K, 4)`` and scores ``(K,)``; as in `froc`.
        truth: image -> boxes ``(L, 4)``; all images that count.
        most: of the detections of an image, so many of the highest scores count.

    Returns:
        ``ap``, the mean over overlaps of 0.5, 0.55 … 0.95, ``ap50`` and ``ap75``; nan without
        lesions.

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
    metric = MeanAveragePrecision(max_detection_thresholds=[1, 10, most])
    metric.warn_on_many_detections = False
    for name, wanted in truth.items():
        boxes, scores = found.get(name, ((), ()))
        metric.update([{**_item(boxes), "scores": _floats(scores)}], [_item(wanted)])
    numbers = metric.compute()
    known = float(numbers["map"]) >= 0  # -1 where there is no lesion
    return {ours: float(numbers[name]) if known else torch.nan for name, ours in NAMES.items()}


def _floats(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def _item(boxes: Any) -> dict[str, Tensor]:
    every = _floats(boxes).reshape(-1, 4)
    return {"boxes": every, "labels": torch.zeros(len(every), dtype=torch.long)}
