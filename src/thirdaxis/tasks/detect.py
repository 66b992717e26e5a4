"""Detection of lesions, start to end: `train`, `resume`, `predict`, and scores of detections."""

from thirdaxis.tasks.detection.evaluate import Evaluation, score, write_scores
from thirdaxis.tasks.detection.finder import Finder, load_finder
from thirdaxis.tasks.detection.found import read_found
from thirdaxis.tasks.detection.link import Linking
from thirdaxis.tasks.detection.network import make_lesion_detector
from thirdaxis.tasks.detection.page import write_scores_page
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.predict import predict
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.detection.slab import Looking
from thirdaxis.tasks.detection.truth import find_truth
from thirdaxis.tasks.runs import resume, train

__all__ = [
    "DetectPlan",
    "DetectSettings",
    "Evaluation",
    "Finder",
    "Linking",
    "Looking",
    "find_truth",
    "load_finder",
    "make_lesion_detector",
    "predict",
    "read_found",
    "resume",
    "score",
    "train",
    "write_scores",
    "write_scores_page",
]
