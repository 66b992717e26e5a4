"""Which network a task is learnt by."""

from collections.abc import Callable
from typing import Any

from thirdaxis.tasks.classification.network import make_classifier
from thirdaxis.tasks.detection.network import make_lesion_detector
from thirdaxis.tasks.locating.network import make_locator_network
from thirdaxis.tasks.segmentation.network import make_network

# By task: from settings and plan to the converted network, without loading any 2D weights.
NETWORKS: dict[str, Callable[..., Any]] = {
    "segment": make_network,
    "classify": make_classifier,
    "detect": make_lesion_detector,
    "locate": make_locator_network,
}
