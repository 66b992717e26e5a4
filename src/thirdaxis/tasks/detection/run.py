"""A whole run of lesion detection: from a data set to a folder with a detector and its scores."""

from dataclasses import replace
from pathlib import Path

import thirdaxis
from thirdaxis.data.lesions.key_slice import LesionSet
from thirdaxis.tasks.detection.cases import make_plan, read_lesions, slices_of, split_slices
from thirdaxis.tasks.detection.data import DetectData
from thirdaxis.tasks.detection.module import DetectModule
from thirdaxis.tasks.detection.network import make_lesion_detector
from thirdaxis.tasks.detection.plan import STRIDE, DetectPlan
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.detection.summary import finish
from thirdaxis.tasks.engine import Display, fit, last_checkpoint, steps_of
from thirdaxis.tasks.hardware import pick_accelerator, rank
from thirdaxis.tasks.network import Made
from thirdaxis.tasks.run_folder import Run, new_run_folder, read_run, write_run

DetectRun = Run[DetectSettings, DetectPlan]


def train(settings: DetectSettings, out: Path, display: Display | None = None) -> dict[str, object]:
    """Trains a lesion detector and leaves a run folder; see `thirdaxis.tasks.runs.train`."""
    shown = display or Display()
    pick_accelerator(settings.accelerator, settings.devices)
    with new_run_folder(out) as partial:
        pinned = settings.pinned()
        lesions = read_lesions(pinned, shown.say)
        parts = split_slices(lesions, pinned)
        plan = make_plan(lesions, parts, pinned)
        run = Run(partial, pinned, plan, **{name: tuple(part) for name, part in parts.items()})
        made = make_lesion_detector(pinned, plan)
        data = _data(run, lesions, shown)
        write_run(partial, run, _converted(made, plan), made.told())
    run = replace(run, folder=out)
    _fit(run, made, data, shown, None)
    return finish(run, lesions, shown)


def resume(out: Path, display: Display | None = None) -> dict[str, object]:
    """Goes on with a run; see `thirdaxis.tasks.runs.resume`."""
    shown = display or Display()
    run = read_run(out)
    lesions = read_lesions(run.settings, shown.say)
    last, over = last_checkpoint(run)
    if over:
        shown.say(f"{out}: nothing is left to train")
    else:
        made = make_lesion_detector(run.settings, run.plan, load=last is None)
        _fit(run, made, _data(run, lesions, shown), shown, last)
    return {} if rank() else finish(run, lesions, shown)


def _converted(made: Made, plan: DetectPlan) -> str:
    """How the backbone was converted; its layers do not depend on the size of an image."""
    if made.net.backbone.is_stacked:  # type: ignore[union-attr]
        return f"a 2D network with {plan.depth} slices as its channels"
    return str(thirdaxis.report(made.net.backbone.net, (1, 1, plan.seen, STRIDE, STRIDE)))  # type: ignore[union-attr, arg-type]


def _data(run: DetectRun, lesions: LesionSet, shown: Display) -> DetectData:
    told = run.settings, run.plan
    training = slices_of(lesions, run.training, *told, drawn=True, watch=shown.watch)
    validation = slices_of(lesions, run.validation, *told) if run.validation else None
    return DetectData(training, validation, run.settings)


def _fit(run: DetectRun, made: Made, data: DetectData, shown: Display, last: Path | None) -> None:
    steps = steps_of(run.settings, data.batches)
    validation = data.validation.slices if data.validation else ()
    module = DetectModule(made.net, run.settings, run.plan, steps, validation)
    fit(run, module, data, shown, last, None)
