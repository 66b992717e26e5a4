"""A whole run of any task: data read, cases split, a network made, trained and judged."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from thirdaxis.tasks.engine import Display, fit, last_checkpoint, steps_of
from thirdaxis.tasks.feed import RunData
from thirdaxis.tasks.hardware import pick_accelerator, rank
from thirdaxis.tasks.kinds import AnyPlan
from thirdaxis.tasks.module import RunModule
from thirdaxis.tasks.network import Made
from thirdaxis.tasks.one_step import one_step
from thirdaxis.tasks.run_folder import PARTS, Run, new_run_folder, read_run, write_run
from thirdaxis.tasks.settings import RunSettings

Settings = TypeVar("Settings", bound=RunSettings)
Decided = TypeVar("Decided", bound=AnyPlan)
Data = TypeVar("Data")
Parts = dict[str, list[str]]
"""Names of cases by part, as in `PARTS`; a part may be missing."""


@dataclass(frozen=True)
class FirstStep(Generic[Settings, Decided]):
    """What one step of a run left, in memory alone: the run, its module and data, and the loss."""

    run: Run[Settings, Decided]
    module: RunModule
    feed: Any
    loss: float


class Task(ABC, Generic[Settings, Decided, Data]):
    """What a task has of its own; how a run begins, goes on and ends is the same for all."""

    @abstractmethod
    def read(self, settings: Settings, shown: Display) -> Data:
        """The data set, as far as it is needed before it is split."""

    @abstractmethod
    def begin(self, settings: Settings, data: Data, shown: Display) -> tuple[Parts, Decided]:
        """Who trains and who is held out, and what the data decide."""

    def check(self, run: Run[Settings, Decided], data: Data) -> None:
        """Refuses data that are not those which a run began with, where it can tell."""

    @abstractmethod
    def network(self, settings: Settings, plan: Decided, *, load: bool = True) -> Made:
        """The network, with its weights or, as a checkpoint will fill it, without."""

    @abstractmethod
    def feed(self, run: Run[Settings, Decided], data: Data, shown: Display) -> RunData:
        """What feeds the cases to the network."""

    @abstractmethod
    def conversion(self, net: nn.Module, run: Run[Settings, Decided], shown: Display) -> str:
        """The converter's report; what a user should know before training is told to `shown`."""

    @abstractmethod
    def module(
        self, net: nn.Module, run: Run[Settings, Decided], feed: Any, steps: int
    ) -> RunModule:
        """What trains the network, with so many steps."""

    def sample(self, run: Run[Settings, Decided]) -> tuple[int, ...] | None:
        """(C, D, H, W) of what the network sees; none where samples decide what has gradients."""
        return None

    @abstractmethod
    def finish(
        self, run: Run[Settings, Decided], data: Data, shown: Display, /
    ) -> dict[str, object]:
        """Judges the chosen network, and returns what `metrics.json` holds."""

    def train(
        self, settings: Settings, out: Path, display: Display | None = None
    ) -> dict[str, object]:
        """Trains a network and leaves a run folder; see `thirdaxis.tasks.runs.train`."""
        shown = display or Display()
        pick_accelerator(settings.accelerator, settings.devices)
        with new_run_folder(out) as partial:
            pinned = settings.pinned()
            data = self.read(pinned, shown)
            run = self._begun(partial, pinned, data, shown)
            made = self.network(pinned, run.plan)
            feed = self.feed(run, data, shown)
            write_run(partial, run, self.conversion(made.net, run, shown), made.told())
        run = replace(run, folder=out)
        self._fit(run, made, feed, shown, None)
        return self.finish(run, data, shown)

    def resume(self, out: Path, display: Display | None = None) -> dict[str, object]:
        """Goes on with a run; see `thirdaxis.tasks.runs.resume`."""
        shown = display or Display()
        run: Run[Settings, Decided] = read_run(out)
        data = self.read(run.settings, shown)
        self.check(run, data)
        last, over = last_checkpoint(run)
        if over:
            shown.say(f"{out}: nothing is left to train")
        else:
            made = self.network(run.settings, run.plan, load=last is None)
            self._fit(run, made, self.feed(run, data, shown), shown, last)
        return {} if rank() else self.finish(run, data, shown)

    def first_step(
        self, settings: Settings, data: Data, folder: Path
    ) -> FirstStep[Settings, Decided]:
        """One step of training without a trainer, which leaves nothing behind."""
        run = self._begun(folder, settings, data, Display())
        feed = self.feed(run, data, Display())
        module = self.module(self.network(settings, run.plan).net, run, feed, 1)
        return FirstStep(run, module, feed, one_step(module, feed))

    def _begun(
        self, folder: Path, settings: Settings, data: Data, shown: Display
    ) -> Run[Settings, Decided]:
        parts, plan = self.begin(settings, data, shown)
        return Run(folder, settings, plan, **{p: tuple(parts.get(p, ())) for p in PARTS})

    def _fit(
        self,
        run: Run[Settings, Decided],
        made: Made,
        feed: RunData,
        shown: Display,
        last: Path | None,
    ) -> None:
        module = self.module(made.net, run, feed, steps_of(run.settings, feed.batches))
        fit(run, module, feed, shown, last, self.sample(run))
