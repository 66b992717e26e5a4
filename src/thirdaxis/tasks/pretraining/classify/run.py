"""A whole pretraining by classification: from photographs to one file of weights."""

from dataclasses import replace
from pathlib import Path

from torch import nn

import thirdaxis
from thirdaxis.data.photographs.parts import read_photographs
from thirdaxis.data.photographs.pictures import Pictures, digest
from thirdaxis.errors import InputError
from thirdaxis.tasks.engine import Display, fit, last_checkpoint, steps_of
from thirdaxis.tasks.hardware import pick_accelerator, rank
from thirdaxis.tasks.network import Made
from thirdaxis.tasks.pretraining.classify.data import PhotographData
from thirdaxis.tasks.pretraining.classify.finish import finish
from thirdaxis.tasks.pretraining.classify.module import ClassifyPretrainModule
from thirdaxis.tasks.pretraining.classify.network import make_pretrainee
from thirdaxis.tasks.pretraining.classify.plan import PretrainPlan
from thirdaxis.tasks.pretraining.classify.settings import ClassifyPretrainSettings
from thirdaxis.tasks.run_folder import Run, new_run_folder, read_run, write_run

PretrainRun = Run[ClassifyPretrainSettings, PretrainPlan]
Parts = tuple[Pictures, Pictures]


def train(
    settings: ClassifyPretrainSettings, out: Path, display: Display | None = None
) -> dict[str, object]:
    """Pretrains a network and leaves a run folder; see `thirdaxis.tasks.runs.train`."""
    shown = display or Display()
    pick_accelerator(settings.accelerator, settings.devices)
    with new_run_folder(out) as partial:
        pinned = settings.pinned()
        parts = _read(pinned)
        plan = make_plan(parts)
        made = make_pretrainee(pinned, len(plan.names))
        run = Run(partial, pinned, plan, (), ())
        write_run(partial, run, _conversion(made.net, pinned), made.told())
    run = replace(run, folder=out)
    shown.say(
        f"{plan.training} training and {plan.validation} held-out pictures of {len(plan.names)} "
        "classes"
    )
    _fit(run, made, parts, shown, None)
    return finish(run, parts[1], shown)


def resume(out: Path, display: Display | None = None) -> dict[str, object]:
    """Goes on with a run; see `thirdaxis.tasks.runs.resume`."""
    shown = display or Display()
    run = read_run(out)
    parts = _read(run.settings)
    if make_plan(parts) != run.plan:
        raise InputError(
            f"{run.settings.data}: its pictures are not those that the run {out} began with; put "
            "them back, or begin a new run"
        )
    last, over = last_checkpoint(run)
    if over:
        shown.say(f"{out}: nothing is left to train")
    else:
        made = make_pretrainee(run.settings, len(run.plan.names), load=last is None)
        _fit(run, made, parts, shown, last)
    return {} if rank() else finish(run, parts[1], shown)


def make_plan(parts: Parts) -> PretrainPlan:
    """What training and held-out pictures decide."""
    training, held = parts
    return PretrainPlan(training.classes, len(training), len(held), digest(parts))


def _read(settings: ClassifyPretrainSettings) -> Parts:
    parts = read_photographs(
        settings.data,
        settings.validation,
        folds=settings.folds,
        fold=settings.fold,
        fraction=settings.fraction,
        seed=settings.seed,
    )
    found = len(parts[0].classes)
    if settings.classes is not None and found != settings.classes:
        raise InputError(
            f"{settings.data}: has {found} classes, the setting classes says {settings.classes}"
        )
    return parts


def _fit(run: PretrainRun, made: Made, parts: Parts, shown: Display, last: Path | None) -> None:
    settings, plan = run.settings, run.plan
    most = settings.damaged_of(plan.training + plan.validation)
    data = PhotographData(*parts, settings, most)
    steps = steps_of(settings, data.batches)
    module = ClassifyPretrainModule(made.net, settings, plan, steps)
    fit(run, module, data, shown, last, settings.sample)


def _conversion(net: nn.Module, settings: ClassifyPretrainSettings) -> str:
    if not settings.in_3d:
        return "not converted: the 2D network as it is"
    return str(thirdaxis.report(net, (1, 1, 3, settings.size, settings.size)))
