"""A whole training run: from a data set to a folder with a trained network and its scores."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

import thirdaxis
from thirdaxis.data.folder import Case, read_folder
from thirdaxis.errors import InputError
from thirdaxis.tasks.hardware import pick_accelerator, pick_precision, processes, quiet
from thirdaxis.tasks.keep import LAST, KeepRun, SafeCheckpoints, read_checkpoint
from thirdaxis.tasks.prepare import Watch, make_plan, prepare, steps_of
from thirdaxis.tasks.preprocess import preprocessing
from thirdaxis.tasks.run_folder import (
    Run,
    cases_named,
    new_run_folder,
    read_run,
    split_cases,
    write_run,
)
from thirdaxis.tasks.segment_data import SegmentData
from thirdaxis.tasks.segment_module import SegmentModule
from thirdaxis.tasks.segment_network import Made, make_network
from thirdaxis.tasks.segment_summary import finish
from thirdaxis.tasks.settings import SegmentSettings


def say_nothing(line: str) -> None:
    """Listens to a run without showing it."""


def no_watch(cases: Sequence[Case], what: str) -> Iterable[Case]:
    """Goes over cases without showing it."""
    return cases


@dataclass(frozen=True)
class Display:
    """How a run shows itself.

    Args:
        say: told single lines; a function of a module, as training processes are told it too.
        watch: wraps the cases being read.
        bar: whether Lightning's progress bar is shown.
    """

    say: Callable[[str], None] = say_nothing
    watch: Watch = no_watch
    bar: bool = False


def train(
    settings: SegmentSettings, out: Path, display: Display | None = None
) -> dict[str, object]:
    """Trains a converted network on a data set and leaves a run folder.

    Args:
        settings: of the run.
        out: the run folder to make.
        display: how the run shows itself; none keeps it silent.

    Returns:
        What `metrics.json` holds.

    Raises:
        ThirdaxisError: a fault in the settings or the data; no run folder is left then.
        OSError: the run folder cannot be written.
    """
    shown = display or Display()
    pick_accelerator(settings.accelerator, settings.devices)
    with new_run_folder(out) as partial:
        root = Path(settings.data).resolve()
        folder = read_folder(root)
        training, validation = split_cases(settings, folder)
        cases = cases_named(folder, training)
        pinned = settings.model_copy(update=_absolute(settings))
        plan = make_plan(pinned, folder, cases, shown.watch)
        run = Run(partial, pinned, plan, tuple(training), tuple(validation))
        made = make_network(pinned, plan)
        data = _data(run, shown)
        conversion = thirdaxis.report(made.net, (1, len(plan.channels), *plan.patch))
        weights = str(made.weights) if made.weights else "random start, no weights were loaded"
        write_run(partial, run, str(conversion), weights)
    run = replace(run, folder=out)
    _fit(run, made, data, shown, None)
    return finish(run, shown.say)


def resume(out: Path, display: Display | None = None) -> dict[str, object]:
    """Goes on with a run from its last whole epoch, to what the unbroken run would have given.

    Args:
        out: the run folder.
        display: how the run shows itself; none keeps it silent.

    Returns:
        What `metrics.json` holds.

    Raises:
        ThirdaxisError: not a run folder, a damaged checkpoint, or data that is gone.
    """
    shown = display or Display()
    run = read_run(out)
    last = out / LAST
    begun = last.exists()
    if begun and read_checkpoint(last)["epoch"] + 1 >= run.settings.epochs:
        shown.say(f"{out}: all {run.settings.epochs} epochs are done")
    else:
        made = make_network(run.settings, run.plan, load=not begun)
        _fit(run, made, _data(run, shown), shown, last if begun else None)
    return finish(run, shown.say)


def _absolute(settings: SegmentSettings) -> dict[str, str]:
    """Paths that hold wherever the run is resumed from."""
    paths = {"data": settings.data, "cache": settings.cache}
    if settings.weights != "library":
        paths["weights"] = settings.weights
    return {name: str(Path(path).resolve()) for name, path in paths.items() if path is not None}


def _data(run: Run, shown: Display) -> SegmentData:
    settings = run.settings
    folder = read_folder(Path(settings.data))
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


def _fit(run: Run, made: Made, data: SegmentData, shown: Display, last: Path | None) -> None:
    settings = run.settings
    epoch_steps = steps_of(settings, len(run.training))
    module = SegmentModule(made.net, settings, run.plan, epoch_steps * settings.epochs)
    callbacks: list[Callback] = [KeepRun(run.folder, shown.say)]
    if shown.bar:
        callbacks.append(RichProgressBar())
    accelerator = pick_accelerator(settings.accelerator, settings.devices)
    several = settings.devices > 1
    with quiet():
        trainer = Trainer(
            accelerator=accelerator,
            devices=settings.devices,
            strategy=processes(accelerator, made.net, run) if several else "auto",
            precision=pick_precision(settings.precision, accelerator),
            max_epochs=settings.epochs,
            check_val_every_n_epoch=settings.validate_every,
            gradient_clip_val=settings.clip,
            logger=TensorBoardLogger(run.folder, name="tensorboard", version=""),
            callbacks=callbacks,
            plugins=[SafeCheckpoints()],
            enable_checkpointing=False,
            enable_progress_bar=shown.bar,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            inference_mode=False,
            log_every_n_steps=min(10, epoch_steps),
            default_root_dir=run.folder,
        )
        try:
            trainer.fit(module, data, ckpt_path=last)
        except SystemExit as stop:
            # Lightning turns Ctrl-C into an exit; the command line reports it as what it was.
            if isinstance(stop.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
