"""A whole run that locates lesions: from volumes with boxes to a network and its scores."""

from dataclasses import replace
from pathlib import Path

import thirdaxis
from thirdaxis.data.lesions.volumes import BoxedVolume
from thirdaxis.data.volume import read_volume
from thirdaxis.tasks.engine import Display, fit, last_checkpoint, steps_of
from thirdaxis.tasks.hardware import pick_accelerator, rank
from thirdaxis.tasks.locating.data import LocateData
from thirdaxis.tasks.locating.module import LocateModule
from thirdaxis.tasks.locating.network import make_locator_network
from thirdaxis.tasks.locating.plan import LocatePlan, plan_of
from thirdaxis.tasks.locating.prepare import boxed_volumes, named, prepare, split_volumes
from thirdaxis.tasks.locating.settings import LocateSettings
from thirdaxis.tasks.locating.summary import finish
from thirdaxis.tasks.network import Made
from thirdaxis.tasks.run_folder import Run, new_run_folder, read_run, write_run

LocateRun = Run[LocateSettings, LocatePlan]
Volumes = tuple[BoxedVolume, ...]


def train(settings: LocateSettings, out: Path, display: Display | None = None) -> dict[str, object]:
    """Trains a network on heat maps and leaves a run folder; see `thirdaxis.tasks.runs.train`."""
    shown = display or Display()
    pick_accelerator(settings.accelerator, settings.devices)
    with new_run_folder(out) as partial:
        pinned = settings.pinned()
        volumes = boxed_volumes(pinned, shown.say)
        parts = split_volumes(volumes, pinned)
        plan = make_plan(volumes, parts["training"], pinned)
        run = Run(partial, pinned, plan, **{name: tuple(part) for name, part in parts.items()})
        made = make_locator_network(pinned, plan)
        data = _data(run, volumes, shown)
        conversion = thirdaxis.report(made.net, (1, plan.channels, *plan.patch))
        write_run(partial, run, str(conversion), made.told())
    run = replace(run, folder=out)
    _fit(run, made, data, shown, None)
    return finish(run, volumes, shown)


def resume(out: Path, display: Display | None = None) -> dict[str, object]:
    """Goes on with a run; see `thirdaxis.tasks.runs.resume`."""
    shown = display or Display()
    run = read_run(out)
    volumes = boxed_volumes(run.settings, shown.say)
    last, over = last_checkpoint(run)
    if over:
        shown.say(f"{out}: nothing is left to train")
    else:
        made = make_locator_network(run.settings, run.plan, load=last is None)
        _fit(run, made, _data(run, volumes, shown), shown, last)
    return {} if rank() else finish(run, volumes, shown)


def make_plan(volumes: Volumes, training: list[str], settings: LocateSettings) -> LocatePlan:
    """The plan of a run on the training part, whose first volume tells the channels."""
    part = named(volumes, training, settings.data)
    channels = read_volume(part[0].file).array.shape[0]
    return plan_of(settings, channels, len(part), sum(len(one.boxes) for one in part))


def _data(run: LocateRun, volumes: Volumes, shown: Display) -> LocateData:
    settings = run.settings
    training, validation = (
        prepare(named(volumes, names, settings.data), settings, run.plan, shown.watch, what)
        for names, what in (
            (run.training, "reading training scans"),
            (run.validation, "reading scans to choose by"),
        )
    )
    return LocateData(training, validation, settings)


def _fit(run: LocateRun, made: Made, data: LocateData, shown: Display, last: Path | None) -> None:
    steps = steps_of(run.settings, data.batches)
    module = LocateModule(made.net, run.settings, run.plan, steps, data.validation)
    fit(run, module, data, shown, last, (run.plan.channels, *run.plan.patch))
