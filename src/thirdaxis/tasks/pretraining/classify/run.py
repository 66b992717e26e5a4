"""A whole pretraining by classification: from photographs to one file of weights."""

from torch import nn

import thirdaxis
from thirdaxis.data.photographs.parts import read_photographs
from thirdaxis.data.photographs.pictures import Pictures, digest
from thirdaxis.errors import InputError
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.network import Made
from thirdaxis.tasks.pretraining.classify.data import PhotographData
from thirdaxis.tasks.pretraining.classify.module import ClassifyPretrainModule
from thirdaxis.tasks.pretraining.classify.network import make_pretrainee
from thirdaxis.tasks.pretraining.classify.plan import PretrainPlan
from thirdaxis.tasks.pretraining.classify.settings import ClassifyPretrainSettings
from thirdaxis.tasks.pretraining.classify.summary import finish
from thirdaxis.tasks.run_folder import Run
from thirdaxis.tasks.task import Parts, Task

PretrainRun = Run[ClassifyPretrainSettings, PretrainPlan]
Both = tuple[Pictures, Pictures]


class PretrainClassify(Task[ClassifyPretrainSettings, PretrainPlan, Both]):
    """Photographs, as volumes, to classes."""

    finish = staticmethod(finish)

    def read(self, settings: ClassifyPretrainSettings, shown: Display) -> Both:
        """Where training and held-out pictures are, none of them read."""
        both = read_photographs(
            settings.data,
            settings.validation,
            folds=settings.folds,
            fold=settings.fold,
            fraction=settings.fraction,
            seed=settings.seed,
        )
        found = len(both[0].classes)
        if settings.classes is not None and found != settings.classes:
            raise InputError(
                f"{settings.data}: has {found} classes, the setting classes says {settings.classes}"
            )
        return both

    def begin(
        self, settings: ClassifyPretrainSettings, data: Both, shown: Display
    ) -> tuple[Parts, PretrainPlan]:
        """Classes and counts; of a million pictures no names are kept."""
        training, held = data
        return {}, PretrainPlan(training.classes, len(training), len(held), digest(data))

    def check(self, run: PretrainRun, data: Both) -> None:
        """Refuses other pictures."""
        if self.begin(run.settings, data, Display())[1] != run.plan:
            raise InputError(
                f"{run.settings.data}: its pictures are not those that the run {run.folder} began "
                "with; put them back, or begin a new run"
            )

    def network(
        self, settings: ClassifyPretrainSettings, plan: PretrainPlan, *, load: bool = True
    ) -> Made:
        """A 3D network, or the 2D one to compare with."""
        return make_pretrainee(settings, len(plan.names), load=load)

    def feed(self, run: PretrainRun, data: Both, shown: Display) -> PhotographData:
        """Training and held-out pictures."""
        most = run.settings.damaged_of(run.plan.training + run.plan.validation)
        return PhotographData(*data, run.settings, most)

    def conversion(self, net: nn.Module, run: PretrainRun, shown: Display) -> str:
        """The converter's report, where there was anything to convert; the counts are told."""
        plan, settings = run.plan, run.settings
        shown.say(
            f"{plan.training} training and {plan.validation} held-out pictures of "
            f"{len(plan.names)} classes"
        )
        if not settings.in_3d:
            return "not converted: the 2D network as it is"
        return str(thirdaxis.report(net, (1, 1, 3, settings.size, settings.size)))

    def module(
        self, net: nn.Module, run: PretrainRun, feed: PhotographData, steps: int
    ) -> ClassifyPretrainModule:
        """Cross entropy, top-1 and top-5."""
        return ClassifyPretrainModule(net, run.settings, run.plan, steps)

    def sample(self, run: PretrainRun) -> tuple[int, ...]:
        """The shape of a picture as the network takes it."""
        return run.settings.sample


PRETRAIN_CLASSIFY = PretrainClassify()
