"""A whole run of lesion detection: from a data set to a folder with a detector and its scores."""

from torch import nn

import thirdaxis
from thirdaxis.data.lesions.key_slice import LesionSet
from thirdaxis.tasks.detection.cases import make_plan, read_lesions, slices_of, split_slices
from thirdaxis.tasks.detection.data import DetectData
from thirdaxis.tasks.detection.module import DetectModule
from thirdaxis.tasks.detection.network import make_lesion_detector
from thirdaxis.tasks.detection.plan import STRIDE, DetectPlan
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.detection.summary import finish
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.run_folder import Run
from thirdaxis.tasks.task import Parts, Task

DetectRun = Run[DetectSettings, DetectPlan]


class Detect(Task[DetectSettings, DetectPlan, LesionSet]):
    """Key slices with their neighbours to boxes of lesions."""

    network = staticmethod(make_lesion_detector)
    finish = staticmethod(finish)

    def read(self, settings: DetectSettings, shown: Display) -> LesionSet:
        """The lesions of DeepLesion, or of any CT."""
        return read_lesions(settings, shown.say)

    def begin(
        self, settings: DetectSettings, data: LesionSet, shown: Display
    ) -> tuple[Parts, DetectPlan]:
        """Parts by patient; the number of lesions."""
        parts = split_slices(data, settings)
        return parts, make_plan(data, parts, settings)

    def feed(self, run: DetectRun, data: LesionSet, shown: Display) -> DetectData:
        """Training slices, and those to choose by."""
        told = run.settings, run.plan
        training = slices_of(data, run.training, *told, drawn=True, watch=shown.watch)
        validation = slices_of(data, run.validation, *told) if run.validation else None
        return DetectData(training, validation, run.settings)

    def conversion(self, net: nn.Module, run: DetectRun, shown: Display) -> str:
        """How the backbone was converted; its layers do not depend on the size of an image."""
        if net.backbone.is_stacked:  # type: ignore[union-attr]
            return f"a 2D network with {run.plan.depth} slices as its channels"
        return str(thirdaxis.report(net.backbone.net, (1, 1, run.plan.seen, STRIDE, STRIDE)))  # type: ignore[union-attr, arg-type]

    def module(self, net: nn.Module, run: DetectRun, feed: DetectData, steps: int) -> DetectModule:
        """The detector's own losses, FROC of the slices to choose by."""
        validation = feed.validation.slices if feed.validation else ()
        return DetectModule(net, run.settings, run.plan, steps, validation)


DETECT = Detect()
