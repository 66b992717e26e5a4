"""Classification of volumes, start to end: `train`, `resume`, `predict`, `evaluate`."""

from thirdaxis.tasks.classification.evaluate import Scores, evaluate
from thirdaxis.tasks.classification.predict import Classifier, load_classifier, predict
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.runs import resume, train

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
