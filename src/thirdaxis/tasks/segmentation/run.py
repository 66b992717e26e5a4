"""A whole training run: from a data set to a folder with a trained network and its scores."""

from dataclasses import replace
from pathlib import Path

import thirdaxis
from thirdaxis.errors import InputError
from thirdaxis.tasks.engine import Display, fit, last_checkpoint, steps_of
from thirdaxis.tasks.hardware import pick_accelerator, rank
from thirdaxis.tasks.network import Made
from thirdaxis.tasks.run_folder import (
    Run,
    cases_named,
    new_run_folder,
    read_run,
    split_cases,
    write_run,
)
from thirdaxis.tasks.segmentation.data import SegmentData
from thirdaxis.tasks.segmentation.module import SegmentModule
from thirdaxis.tasks.segmentation.network import make_network
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.prepare import data_folder, make_plan, prepare
from thirdaxis.tasks.segmentation.preprocess import preprocessing
from thirdaxis.tasks.segmentation.regions import scored
from thirdaxis.tasks.segmentation.settings import SegmentSettings
from thirdaxis.tasks.segmentation.summary import finish

SegmentRun = Run[SegmentSettings, Plan]


def train(
    settings: SegmentSettings, out: Path, display: Display | None = None
) -> dict[str, object]:
    """Trains a converted network and leaves a run folder; see `thirdaxis.tasks.runs.train`."""
    shown = display or Display()
    pick_accelerator(settings.accelerator, settings.devices)
    with new_run_folder(out) as partial:
        folder = data_folder(settings)
        training, validation = split_cases(settings, folder)
        cases = cases_named(folder, training)
        scored(settings, folder.labels)
        pinned = settings.pinned()
        plan = make_plan(pinned, folder, cases, shown.watch)
        run = Run(partial, pinned, plan, tuple(training), tuple(validation))
        made = make_network(pinned, plan)
        data = _data(run, shown)
        conversion = thirdaxis.report(made.net, (1, len(plan.channels), *plan.patch))
        write_run(partial, run, str(conversion), made.told())
    run = replace(run, folder=out)
    _fit(run, made, data, shown, None)
    return finish(run, shown.say)


def resume(out: Path, display: Display | None = None) -> dict[str, object]:
    """Goes on with a run; see `thirdaxis.tasks.runs.resume`."""
    shown = display or Display()
    run = read_run(out)
    last, over = last_checkpoint(run)
    if over:
        shown.say(f"{out}: nothing is left to train")
    else:
        made = make_network(run.settings, run.plan, load=last is None)
        _fit(run, made, _data(run, shown), shown, last)
    return finish(run, shown.say) if rank() == 0 else {}


def _data(run: SegmentRun, shown: Display) -> SegmentData:
    settings = run.settings
    folder = data_folder(settings)
    if folder.labels != run.plan.labels:
        raise InputError(f"{settings.data}: its labels are not those the run began with")
    steps = preprocessing(settings, run.plan)
    cache = Path(settings.cache) if settings.cache else None
    both = [
        prepare(cases_named(folder, names), run.plan, steps, cache, shown.watch, what)
        for names, what in (
            (run.training, "reading training scans"),
            (run.validation, "reading held-out scans"),
        )
    ]
    return SegmentData(both[0], both[1], settings, run.plan)


def _fit(run: SegmentRun, made: Made, data: SegmentData, shown: Display, last: Path | None) -> None:
    steps = steps_of(run.settings, data.batches)
    module = SegmentModule(made.net, run.settings, run.plan, steps)
    fit(run, module, data, shown, last, (len(run.plan.channels), *run.plan.patch))
