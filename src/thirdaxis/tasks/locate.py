"""Lesions located by heat maps, start to end: `train`, `resume`, `predict`, scores of points."""

from thirdaxis.data.lesions.points import Points, read_points
from thirdaxis.tasks.locating.evaluate import Evaluation, find_truth, score, write_scores
from thirdaxis.tasks.locating.locator import Locator, load_locator
from thirdaxis.tasks.locating.page import write_scores_page
from thirdaxis.tasks.locating.plan import LocatePlan
from thirdaxis.tasks.locating.predict import predict
from thirdaxis.tasks.locating.settings import LocateSettings
from thirdaxis.tasks.runs import resume, train

__all__ = [
    "Evaluation",
    "LocatePlan",
    "LocateSettings",
    "Locator",
    "Points",
    "find_truth",
    "load_locator",
    "predict",
    "read_points",
    "resume",
    "score",
    "train",
    "write_scores",
    "write_scores_page",
]
