"""The kinds of runs: what each can be told, and what its data set decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from thirdaxis.tasks.classification.plan import classify_plan_from
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.detection.plan import detect_plan_from
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.locating.plan import locate_plan_from
from thirdaxis.tasks.locating.settings import LocateSettings
from thirdaxis.tasks.pretraining.classify.plan import pretrain_plan_from
from thirdaxis.tasks.pretraining.classify.settings import ClassifyPretrainSettings
from thirdaxis.tasks.pretraining.detect.plan import detect_pretrain_plan_from
from thirdaxis.tasks.pretraining.detect.settings import DetectPretrainSettings
from thirdaxis.tasks.segmentation.plan import plan_from
from thirdaxis.tasks.segmentation.settings import SegmentSettings
from thirdaxis.tasks.settings import RunSettings


class AnyPlan(Protocol):
    """What a data set decides, of any task."""

    def plain(self) -> dict[str, Any]:
        """As JSON and a checkpoint can hold it."""


@dataclass(frozen=True)
class Kind:
    """One task.

    Args:
        settings: the form of its settings.
        plan_from: builds its plan from what `plain` of the plan gave.
    """

    settings: type[RunSettings]
    plan_from: Callable[[Mapping[str, Any]], AnyPlan]


DEFAULT = "segment"
KINDS = {
    "segment": Kind(SegmentSettings, plan_from),
    "classify": Kind(ClassifySettings, classify_plan_from),
    "detect": Kind(DetectSettings, detect_plan_from),
    "pretrain-classify": Kind(ClassifyPretrainSettings, pretrain_plan_from),
    "pretrain-detect": Kind(DetectPretrainSettings, detect_pretrain_plan_from),
    "locate": Kind(LocateSettings, locate_plan_from),
}
