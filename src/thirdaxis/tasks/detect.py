"""Detection of lesions, start to end: `train`, `resume`, and what they are told."""

from thirdaxis.tasks.detection.network import make_lesion_detector
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.run import resume, train
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.engine import Display

__all__ = [
    "DetectPlan",
    "DetectSettings",
    "Display",
    "make_lesion_detector",
    "resume",
    "train",
]
