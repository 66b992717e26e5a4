"""The training loop of every task: Lightning, exact to resume, on one device or many."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from thirdaxis.convert.synchronise import synchronise
from thirdaxis.errors import UsageError
from thirdaxis.tasks.hardware import pick_accelerator, pick_precision, processes, quiet
from thirdaxis.tasks.keep import LAST, KeepRun, SafeCheckpoints, is_over, read_checkpoint
from thirdaxis.tasks.module import RunModule
from thirdaxis.tasks.run_folder import Run
from thirdaxis.tasks.settings import RunSettings

Watch = Callable[[Sequence[Any], str], Iterable[Any]]


def say_nothing(line: str) -> None:
    """Listens to a run without showing it."""


def no_watch(cases: Sequence[Any], what: str) -> Iterable[Any]:
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


def fit(
    run: Run[Any, Any],
    module: RunModule,
    data: LightningDataModule,
    shown: Display,
    last: Path | None,
    sample: tuple[int, ...] | None,
) -> None:
    """Trains to the last epoch, with a checkpoint after each.

    Args:
        run: what was settled.
        module: trains the network.
        data: feeds it.
        shown: how the run shows itself.
        last: checkpoint to go on from; none begins.
        sample: shape (C, D, H, W) that the network takes; none where it depends on the sample which
            weights get a gradient.

    Raises:
        UsageError: norms that are to share statistics over other devices than graphics cards.
    """
    settings = run.settings
    callbacks: list[Callback] = [KeepRun(run.folder, shown.say, settings.patience)]
    if settings.ema is not None:
        callbacks.append(EMAWeightAveraging(decay=settings.ema))
    if shown.bar:
        callbacks.append(RichProgressBar())
    accelerator = pick_accelerator(settings.accelerator, settings.devices)
    # Which weights get a gradient changes as they are unlocked.
    sample = None if module.locked else sample
    several = settings.devices * settings.nodes > 1
    if settings.sync_norms and several:
        if accelerator != "gpu":
            raise UsageError("sync_norms needs graphics cards; leave it out on a CPU")
        synchronise(module.net)
    with quiet():
        trainer = Trainer(
            accelerator=accelerator,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy=processes(accelerator, module.net, sample) if several else "auto",
            precision=pick_precision(settings.precision, accelerator),
            deterministic=settings.deterministic,
            max_epochs=settings.epochs,
            accumulate_grad_batches=settings.accumulate,
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
            log_every_n_steps=1,
            default_root_dir=run.folder,
        )
        try:
            trainer.fit(module, data, ckpt_path=last)
        except SystemExit as stop:
            # Lightning turns Ctrl-C into an exit; the command line reports it as what it was.
            if isinstance(stop.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise


def steps_of(settings: RunSettings, batches: int) -> int:
    """Optimiser steps of a run whose epochs have so many batches."""
    return -(-batches // settings.accumulate) * settings.epochs


def last_checkpoint(run: Run[Any, Any]) -> tuple[Path | None, bool]:
    """The checkpoint a run goes on from, if it has one, and whether nothing is left to train."""
    last = run.folder / LAST
    if not last.exists():
        return None, False
    return last, is_over(read_checkpoint(last), run.settings)
