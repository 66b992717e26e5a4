"""A whole classification run: from a data set to a folder with a trained network and its scores."""

from torch import Tensor, nn

import thirdaxis
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.classification.cases import Cases, make_plan, read_cases, split_samples
from thirdaxis.tasks.classification.crops import Crops, prepare
from thirdaxis.tasks.classification.data import ClassifyData
from thirdaxis.tasks.classification.module import ClassifyModule
from thirdaxis.tasks.classification.network import make_classifier, slices_read
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.classification.summary import finish
from thirdaxis.tasks.engine import Display, no_watch
from thirdaxis.tasks.run_folder import Run
from thirdaxis.tasks.task import Parts, Task

ClassifyRun = Run[ClassifySettings, ClassifyPlan]


class Classify(Task[ClassifySettings, ClassifyPlan, Cases]):
    """Boxes of scans to classes, labels or grades."""

    network = staticmethod(make_classifier)
    finish = staticmethod(finish)

    def read(self, settings: ClassifySettings, shown: Display) -> Cases:
        """The table of samples, or a set of MedMNIST."""
        return read_cases(settings)

    def begin(
        self, settings: ClassifySettings, data: Cases, shown: Display
    ) -> tuple[Parts, ClassifyPlan]:
        """Parts by patient; the classes, and the size of the first box, as all are alike."""
        parts = split_samples(data, settings)
        first = data.named(parts["training"][:1], settings.data)
        plan = make_plan(data, parts, settings, prepare(first, settings, no_watch, "").shape)
        if settings.augment == "lidc" and len(set(plan.size)) > 1:
            raise UsageError(f"augment 'lidc' turns boxes, whose sides differ here: {plan.size}")
        return parts, plan

    def feed(self, run: ClassifyRun, data: Cases, shown: Display) -> ClassifyData:
        """The boxes of training samples and of those to choose by, with their truth."""

        def part(names: tuple[str, ...], what: str) -> tuple[Crops, Tensor]:
            cases = data.named(names, run.settings.data)
            crops = prepare(cases, run.settings, shown.watch, f"reading {what} scans")
            try:
                return crops, run.plan.truth(data.labels(names))
            except ValueError:
                raise InputError(
                    f"{run.settings.data}: has labels that the run did not begin with"
                ) from None

        validation = part(run.validation, "validation") if run.validation else None
        return ClassifyData(part(run.training, "training"), validation, run.settings)

    def conversion(self, net: nn.Module, run: ClassifyRun, shown: Display) -> str:
        """The converter's report; says so where some slices of a box are never read."""
        size = self.sample(run)
        read = slices_read(net, size)
        if read < size[1]:
            shown.say(
                f"{run.settings.network} with {run.settings.fusion} reads {read} of the {size[1]} "
                "slices of a box; it reads all of them with depth_stride: false, which takes longer"
            )
        return str(thirdaxis.report(net, (1, *size)))

    def module(
        self, net: nn.Module, run: ClassifyRun, feed: ClassifyData, steps: int
    ) -> ClassifyModule:
        """Cross entropy of classes or labels, or the distance of grades."""
        return ClassifyModule(net, run.settings, run.plan, steps, len(run.training))

    def sample(self, run: ClassifyRun) -> tuple[int, int, int, int]:
        """(C, D, H, W) of a box."""
        return (run.plan.channels, *run.plan.size)


CLASSIFY = Classify()
