"""Classification of volumes, start to end: `train`, `resume`, `predict`, `evaluate`."""

from thirdaxis.tasks.classify_evaluate import Scores, evaluate
from thirdaxis.tasks.classify_predict import Classifier, load_classifier, predict
from thirdaxis.tasks.classify_run import resume, train
from thirdaxis.tasks.classify_settings import ClassifySettings
from thirdaxis.tasks.engine import Display

__all__ = [
    "Classifier",
    "ClassifySettings",
    "Display",
    "Scores",
    "evaluate",
    "load_classifier",
    "predict",
    "resume",
    "train",
]
