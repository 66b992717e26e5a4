"""A whole run that locates lesions: from volumes with boxes to a network and its scores."""

from torch import nn

import thirdaxis
from thirdaxis.data.lesions.volumes import BoxedVolume
from thirdaxis.data.volume import read_volume
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.locating.data import LocateData
from thirdaxis.tasks.locating.module import LocateModule
from thirdaxis.tasks.locating.network import make_locator_network
from thirdaxis.tasks.locating.plan import LocatePlan, plan_of
from thirdaxis.tasks.locating.prepare import boxed_volumes, named, prepare, split_volumes
from thirdaxis.tasks.locating.settings import LocateSettings
from thirdaxis.tasks.locating.summary import finish
from thirdaxis.tasks.run_folder import Run
from thirdaxis.tasks.task import Parts, Task

LocateRun = Run[LocateSettings, LocatePlan]
Volumes = tuple[BoxedVolume, ...]


class Locate(Task[LocateSettings, LocatePlan, Volumes]):
    """Volumes to heat maps, and points at their peaks."""

    network = staticmethod(make_locator_network)
    finish = staticmethod(finish)

    def read(self, settings: LocateSettings, shown: Display) -> Volumes:
        """The volumes and their boxes."""
        return boxed_volumes(settings, shown.say)

    def begin(
        self, settings: LocateSettings, data: Volumes, shown: Display
    ) -> tuple[Parts, LocatePlan]:
        """Parts by patient; the channels are those of the first training volume."""
        parts = split_volumes(data, settings)
        training = named(data, parts["training"], settings.data)
        channels = read_volume(training[0].file).array.shape[0]
        lesions = sum(len(one.boxes) for one in training)
        return parts, plan_of(settings, channels, len(training), lesions)

    def feed(self, run: LocateRun, data: Volumes, shown: Display) -> LocateData:
        """Patches of training volumes, and volumes to choose by."""
        settings = run.settings
        training, validation = (
            prepare(named(data, names, settings.data), settings, run.plan, shown.watch, what)
            for names, what in (
                (run.training, "reading training scans"),
                (run.validation, "reading scans to choose by"),
            )
        )
        return LocateData(training, validation, settings)

    def conversion(self, net: nn.Module, run: LocateRun, shown: Display) -> str:
        """The converter's report."""
        return str(thirdaxis.report(net, (1, *self.sample(run))))

    def module(self, net: nn.Module, run: LocateRun, feed: LocateData, steps: int) -> LocateModule:
        """The distance of heat maps, FROC of the volumes to choose by."""
        return LocateModule(net, run.settings, run.plan, steps, feed.validation)

    def sample(self, run: LocateRun) -> tuple[int, int, int, int]:
        """(C, D, H, W) of a patch."""
        return (run.plan.channels, *run.plan.patch)


LOCATE = Locate()
