"""A whole pretraining on photographs with boxes: from a data set to a file of weights."""

from dataclasses import replace
from pathlib import Path

import thirdaxis
from thirdaxis.data.coco import CocoSet
from thirdaxis.errors import InputError
from thirdaxis.nets.lesion.svd import MULTIPLE
from thirdaxis.tasks.engine import Display, fit, last_checkpoint, steps_of
from thirdaxis.tasks.hardware import pick_accelerator, rank
from thirdaxis.tasks.network import Made
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
from thirdaxis.tasks.run_folder import Run, new_run_folder, read_run, write_run

PretrainRun = Run[DetectPretrainSettings, DetectPretrainPlan]
Sets = tuple[CocoSet, CocoSet]


def train(
    settings: DetectPretrainSettings, out: Path, display: Display | None = None
) -> dict[str, object]:
    """Trains a detector of photographs; see `thirdaxis.tasks.runs.train`."""
    shown = display or Display()
    pick_accelerator(settings.accelerator, settings.devices)
    with new_run_folder(out) as partial:
        pinned = settings.pinned()
        sets = read_photographs(pinned, shown.say)
        training, held = split_photographs(sets, pinned)
        plan = plan_of(sets, training, held, pinned)
        run = Run(partial, pinned, plan, tuple(training), tuple(held))
        made = make_photograph_detector(pinned, plan)
        volume = (1, 1, SLICES, MULTIPLE, MULTIPLE)
        conversion = thirdaxis.report(made.net.backbone.net, volume)  # type: ignore[union-attr, arg-type]
        write_run(partial, run, str(conversion), made.told())
    run = replace(run, folder=out)
    _fit(run, made, sets, shown, None)
    return finish(run, sets, shown)


def resume(out: Path, display: Display | None = None) -> dict[str, object]:
    """Goes on with a run; see `thirdaxis.tasks.runs.resume`."""
    shown = display or Display()
    run = read_run(out)
    sets = read_photographs(run.settings, shown.say)
    if plan_of(sets, run.training, run.validation, run.settings) != run.plan:
        raise InputError(
            f"{run.settings.data}: its boxes are not those that the run {out} began with; put them "
            "back, or begin a new run"
        )
    last, over = last_checkpoint(run)
    if over:
        shown.say(f"{out}: nothing is left to train")
    else:
        made = make_photograph_detector(run.settings, run.plan, load=last is None)
        _fit(run, made, sets, shown, last)
    return {} if rank() else finish(run, sets, shown)


def _fit(run: PretrainRun, made: Made, sets: Sets, shown: Display, last: Path | None) -> None:
    settings, held = run.settings, part(sets[1], run.validation)
    data = PhotographData(
        Photographs(part(sets[0], run.training), settings, training=True),
        Photographs(held, settings, training=False),
        settings,
        settings.damaged_of(run.plan.pictures + run.plan.held_out),
    )
    steps = steps_of(settings, data.batches)
    module = PhotographModule(made.net, settings, run.plan, steps, held)
    fit(run, module, data, shown, last, None)
