"""A trained model as a segmenter, ready to be called on scans."""

from pathlib import Path

from thirdaxis.tasks.model import Model, load_model
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.segmenter import Segmenter
from thirdaxis.tasks.segmentation.settings import SegmentSettings


def load_segmenter(
    path: str | Path | Model, accelerator: str | None = None, *, trust: bool = False
) -> Segmenter:
    """Loads a network trained to segment.

    Args:
        path: a run folder, or a trained model in any form that `load_model` reads.
        accelerator: `auto`, `cpu` or `gpu`; none takes the run's own.
        trust: whether a program that the model names as its network may be called.

    Returns:
        The network, ready to be called on scans.

    Raises:
        InputError: not a trained model, or one of another task.
    """
    model = load_model(path, task="segment", trust=trust)
    settings, plan = model.settings, model.plan
    assert isinstance(settings, SegmentSettings) and isinstance(plan, Plan)
    return Segmenter(model.net, settings, plan, model.moved(accelerator))
