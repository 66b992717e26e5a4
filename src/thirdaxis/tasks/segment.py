"""Segmentation of volumes, start to end: `train`, `resume`, `predict`, `evaluate`."""

from thirdaxis.tasks.segment_evaluate import Evaluation, evaluate
from thirdaxis.tasks.segment_model import load_segmenter
from thirdaxis.tasks.segment_predict import Outputs, Predictions, predict
from thirdaxis.tasks.segment_run import resume, train
from thirdaxis.tasks.segment_settings import SegmentSettings
from thirdaxis.tasks.segmenter import Inference, Segmenter
from thirdaxis.tasks.settings_files import make_settings

__all__ = [
    "Evaluation",
    "Inference",
    "Outputs",
    "Predictions",
    "SegmentSettings",
    "Segmenter",
    "evaluate",
    "load_segmenter",
    "make_settings",
    "predict",
    "resume",
    "train",
]
