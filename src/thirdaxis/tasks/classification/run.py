"""A whole classification run: from a data set to a folder with a trained network and its scores."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

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
from thirdaxis.tasks.engine import Display, fit, last_checkpoint, steps_of
from thirdaxis.tasks.hardware import pick_accelerator, rank
from thirdaxis.tasks.network import Made
from thirdaxis.tasks.run_folder import Run, new_run_folder, read_run, write_run

ClassifyRun = Run[ClassifySettings, ClassifyPlan]


def train(
    settings: ClassifySettings, out: Path, display: Display | None = None
) -> dict[str, object]:
    """Trains a converted classifier and leaves a run folder; see `thirdaxis.tasks.runs.train`."""
    shown = display or Display()
    pick_accelerator(settings.accelerator, settings.devices)
    with new_run_folder(out) as partial:
        pinned = settings.pinned()
        cases = read_cases(pinned)
        parts = split_samples(cases, pinned)
        training = _crops(cases, parts["training"], pinned, shown, "reading training scans")
        plan = make_plan(cases, parts, pinned, training.shape)
        if pinned.augment == "lidc" and len(set(plan.size)) > 1:
            raise UsageError(f"augment 'lidc' turns boxes, whose sides differ here: {plan.size}")
        run = Run(partial, pinned, plan, **{name: tuple(part) for name, part in parts.items()})
        made = make_classifier(pinned, plan)
        conversion = thirdaxis.report(made.net, (1, plan.channels, *plan.size))
        read, slices = slices_read(made.net, (plan.channels, *plan.size)), plan.size[0]
        if read < slices:
            shown.say(
                f"{pinned.network} with {pinned.fusion} reads {read} of the {slices} slices of a "
                "box; it reads all of them with depth_stride: false, which takes longer"
            )
        write_run(partial, run, str(conversion), made.told())
    run = replace(run, folder=out)
    _fit(run, made, cases, training, shown, None)
    return finish(run, cases, shown)


def resume(out: Path, display: Display | None = None) -> dict[str, object]:
    """Goes on with a run; see `thirdaxis.tasks.runs.resume`."""
    shown = display or Display()
    run = read_run(out)
    cases = read_cases(run.settings)
    last, over = last_checkpoint(run)
    if over:
        shown.say(f"{out}: nothing is left to train")
    else:
        made = make_classifier(run.settings, run.plan, load=last is None)
        what = "reading training scans"
        training = _crops(cases, run.training, run.settings, shown, what)
        _fit(run, made, cases, training, shown, last)
    return {} if rank() else finish(run, cases, shown)


def _crops(
    cases: Cases,
    names: tuple[str, ...] | list[str],
    settings: ClassifySettings,
    shown: Display,
    what: str,
) -> Crops:
    return prepare(cases.named(names, settings.data), settings, shown.watch, what)


def _fit(
    run: ClassifyRun, made: Made, cases: Cases, training: Crops, shown: Display, last: Path | None
) -> None:
    settings, plan = run.settings, run.plan

    def truth(names: tuple[str, ...]) -> Tensor:
        labels = cases.labels(names)
        try:
            return plan.truth(labels)
        except ValueError:
            raise InputError(
                f"{settings.data}: has labels that the run did not begin with"
            ) from None

    validation = None
    if run.validation:
        crops = _crops(cases, run.validation, settings, shown, "reading validation scans")
        validation = (crops, truth(run.validation))
    data = ClassifyData((training, truth(run.training)), validation, settings)
    steps = steps_of(settings, data.batches)
    module = ClassifyModule(made.net, settings, plan, steps, len(training))
    fit(run, module, data, shown, last, (plan.channels, *plan.size))
