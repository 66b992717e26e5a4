"""A whole segmentation run: from a data set to a folder with a trained network and its scores."""

from pathlib import Path

from torch import nn

import thirdaxis
from thirdaxis.data.folder import Folder
from thirdaxis.errors import InputError
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.run_folder import Run, cases_named, split_cases
from thirdaxis.tasks.segmentation.data import SegmentData
from thirdaxis.tasks.segmentation.module import SegmentModule
from thirdaxis.tasks.segmentation.network import make_network
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.prepare import data_folder, make_plan, prepare
from thirdaxis.tasks.segmentation.preprocess import preprocessing
from thirdaxis.tasks.segmentation.regions import scored
from thirdaxis.tasks.segmentation.settings import SegmentSettings
from thirdaxis.tasks.segmentation.summary import finish
from thirdaxis.tasks.task import Parts, Task

SegmentRun = Run[SegmentSettings, Plan]


class Segment(Task[SegmentSettings, Plan, Folder]):
    """Scans to label maps."""

    network = staticmethod(make_network)
    finish = staticmethod(finish)

    def read(self, settings: SegmentSettings, shown: Display) -> Folder:
        """The files of the data set."""
        return data_folder(settings)

    def begin(self, settings: SegmentSettings, data: Folder, shown: Display) -> tuple[Parts, Plan]:
        """Parts by patient; what the training scans' spacing and size decide."""
        training, validation = split_cases(settings, data)
        scored(settings, data.labels)
        plan = make_plan(settings, data, cases_named(data, training), shown.watch)
        return {"training": training, "validation": validation}, plan

    def check(self, run: SegmentRun, data: Folder) -> None:
        """Refuses other labels."""
        if data.labels != run.plan.labels:
            raise InputError(f"{run.settings.data}: its labels are not those the run began with")

    def feed(self, run: SegmentRun, data: Folder, shown: Display) -> SegmentData:
        """Patches of training scans, and held-out scans whole."""
        settings = run.settings
        steps = preprocessing(settings, run.plan)
        cache = Path(settings.cache) if settings.cache else None
        training, held = (
            prepare(cases_named(data, names), run.plan, steps, cache, shown.watch, what)
            for names, what in (
                (run.training, "reading training scans"),
                (run.validation, "reading held-out scans"),
            )
        )
        return SegmentData(training, held, settings, run.plan)

    def conversion(self, net: nn.Module, run: SegmentRun, shown: Display) -> str:
        """The converter's report."""
        return str(thirdaxis.report(net, (1, *self.sample(run))))

    def module(
        self, net: nn.Module, run: SegmentRun, feed: SegmentData, steps: int
    ) -> SegmentModule:
        """Losses over voxels, Dice over whole scans."""
        return SegmentModule(net, run.settings, run.plan, steps)

    def sample(self, run: SegmentRun) -> tuple[int, int, int, int]:
        """(C, D, H, W) of a patch."""
        return (len(run.plan.channels), *run.plan.patch)


SEGMENT = Segment()
