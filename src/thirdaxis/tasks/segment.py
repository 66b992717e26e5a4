"""Segmentation of volumes, start to end: `train`, `resume`, `predict`, `evaluate`."""

from thirdaxis.tasks.runs import resume, train
from thirdaxis.tasks.segmentation.evaluate import Evaluation, evaluate
from thirdaxis.tasks.segmentation.model import load_segmenter
from thirdaxis.tasks.segmentation.predict import Outputs, predict
from thirdaxis.tasks.segmentation.segmenter import Inference, Segmenter
from thirdaxis.tasks.segmentation.settings import SegmentSettings
from thirdaxis.tasks.settings_files import make_settings

__all__ = [
    "Evaluation",
    "Inference",
    "Outputs",
    "SegmentSettings",
    "Segmenter",
    "evaluate",
    "load_segmenter",
    "make_settings",
    "predict",
    "resume",
    "train",
]
