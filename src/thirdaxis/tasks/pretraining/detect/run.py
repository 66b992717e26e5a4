"""A whole pretraining on photographs with boxes: from a data set to a file of weights."""

from torch import nn

import thirdaxis
from thirdaxis.data.coco import CocoSet
from thirdaxis.errors import InputError
from thirdaxis.nets.lesion.svd import MULTIPLE
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.pretraining.detect.cases import (
    part,
    plan_of,
    read_photographs,
    split_photographs,
)
from thirdaxis.tasks.pretraining.detect.data import PhotographData, Photographs
from thirdaxis.tasks.pretraining.detect.module import PhotographModule
from thirdaxis.tasks.pretraining.detect.network import make_photograph_detector
from thirdaxis.tasks.pretraining.detect.plan import SLICES, DetectPretrainPlan
from thirdaxis.tasks.pretraining.detect.settings import DetectPretrainSettings
from thirdaxis.tasks.pretraining.detect.summary import finish
from thirdaxis.tasks.run_folder import Run
from thirdaxis.tasks.task import Parts, Task

PretrainRun = Run[DetectPretrainSettings, DetectPretrainPlan]
Sets = tuple[CocoSet, CocoSet]


class PretrainDetect(Task[DetectPretrainSettings, DetectPretrainPlan, Sets]):
    """Photographs, as volumes, to boxes of objects."""

    network = staticmethod(make_photograph_detector)
    finish = staticmethod(finish)

    def read(self, settings: DetectPretrainSettings, shown: Display) -> Sets:
        """The annotations of training and held-out pictures."""
        return read_photographs(settings, shown.say)

    def begin(
        self, settings: DetectPretrainSettings, data: Sets, shown: Display
    ) -> tuple[Parts, DetectPretrainPlan]:
        """Pictures by name; categories and counts."""
        training, held = split_photographs(data, settings)
        plan = plan_of(data, training, held, settings)
        return {"training": training, "validation": held}, plan

    def check(self, run: PretrainRun, data: Sets) -> None:
        """Refuses other boxes."""
        if plan_of(data, run.training, run.validation, run.settings) != run.plan:
            raise InputError(
                f"{run.settings.data}: its boxes are not those that the run {run.folder} began "
                "with; put them back, or begin a new run"
            )

    def feed(self, run: PretrainRun, data: Sets, shown: Display) -> PhotographData:
        """Training and held-out pictures."""
        return PhotographData(
            Photographs(part(data[0], run.training), run.settings, training=True),
            Photographs(part(data[1], run.validation), run.settings, training=False),
            run.settings,
            run.settings.damaged_of(run.plan.pictures + run.plan.held_out),
        )

    def conversion(self, net: nn.Module, run: PretrainRun, shown: Display) -> str:
        """The converter's report of the backbone."""
        volume = (1, 1, SLICES, MULTIPLE, MULTIPLE)
        return str(thirdaxis.report(net.backbone.net, volume))  # type: ignore[union-attr, arg-type]

    def module(
        self, net: nn.Module, run: PretrainRun, feed: PhotographData, steps: int
    ) -> PhotographModule:
        """The detector's own losses, average precision of held-out pictures."""
        return PhotographModule(net, run.settings, run.plan, steps, feed.held.coco)


PRETRAIN_DETECT = PretrainDetect()
