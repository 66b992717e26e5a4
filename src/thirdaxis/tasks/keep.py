"""What a run leaves behind at every epoch: checkpoints and the table of scores, all whole."""

import csv
import io
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from thirdaxis.atomic import atomic_path, write_text
from thirdaxis.errors import InputError
from thirdaxis.tasks.module import RunModule
from thirdaxis.tasks.settings import RunSettings

LAST, BEST, HISTORY = "last.ckpt", "best.ckpt", "metrics.csv"


class SafeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, and reads one without running any code in it."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Writes beside `path` first, then renames."""
        buffer = io.BytesIO()
        # Straight into the file, torch would answer a full disk with an internal error.
        torch.save(checkpoint, buffer)
        with atomic_path(Path(path)) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Reads tensors and plain values only."""
        return _load(Path(path))


def _load(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: not a checkpoint that can be read ({reason})") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of a run, tensors and plain values only, to the CPU.

    Raises:
        InputError: the file is missing, damaged, or holds anything else.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; has the run finished its first epoch?")
    checkpoint = _load(path)
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise InputError(f"{path}: not a checkpoint of a training run")
    return checkpoint


def is_over(checkpoint: dict[str, Any], settings: RunSettings) -> bool:
    """Whether a run has reached its last epoch, or stopped early."""
    waited = checkpoint["callbacks"][KeepRun.__name__]["waited"]
    return checkpoint["epoch"] + 1 >= settings.epochs or waited == settings.patience


class KeepRun(Callback):
    """Writes `last.ckpt` and `metrics.csv` each epoch, and `best.ckpt` at the best validation.

    The table travels in the checkpoint, so that a resumed run goes on with it.

    Args:
        folder: the run folder.
        say: told one line a validation.
        patience: validations without a better score after which training stops; none never does.
    """

    def __init__(
        self, folder: Path, say: Callable[[str], None], patience: int | None = None
    ) -> None:
        self.folder = folder
        self.say = say
        self.patience = patience
        self.waited = 0
        self.rows: list[dict[str, float]] = []
        self.best = -math.inf
        self.started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"rows": self.rows, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows, self.best = list(state_dict["rows"]), state_dict["best"]
        self.waited = state_dict["waited"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock, tells the past, and has the last epoch validated at any number."""
        assert isinstance(pl_module, RunModule)
        self.started = time.perf_counter()
        pl_module.past_losses = [row["train_loss"] for row in self.rows]
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes everything; comes after the epoch's validation."""
        assert isinstance(pl_module, RunModule)
        loss, score = pl_module.epoch_loss(), pl_module.epoch_score
        name = pl_module.score_name
        self.rows.append(
            {
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
                "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
                "train_loss": loss,
                f"val_{name.lower()}": math.nan if score is None else score,
                "seconds": time.perf_counter() - self.started,
            }
        )
        if score is not None:
            # A nan (no foreground in any held-out case) counts as the worst of scores.
            judged = -sys.float_info.max if math.isnan(score) else score
            if trainer.is_global_zero:
                told = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
                changes = "".join(f"  {change}" for change in pl_module.changes())
                self.say(f"{told}  loss {loss:.4f}  validation {name} {score:.4f}{changes}")
            self.waited += 1
            if judged > self.best:
                self.best, self.waited = judged, 0
                trainer.save_checkpoint(self.folder / BEST)
            trainer.should_stop = self.waited == self.patience
        trainer.save_checkpoint(self.folder / LAST)
        if trainer.is_global_zero:
            write_text(self.folder / HISTORY, history_text(self.rows))


def history_text(rows: list[dict[str, float]]) -> str:
    """The table of epochs as CSV; the score of an epoch without validation stays empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if math.isnan(value) else value for name, value in row.items()})
    return out.getvalue()


def read_history(path: Path) -> list[dict[str, float]]:
    """Reads the table back; an empty cell is nan."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            {name: float(value) if value else math.nan for name, value in row.items()}
            for row in csv.DictReader(stream)
        ]


def best_row(history: Sequence[Mapping[str, float]], score: str) -> Mapping[str, float] | None:
    """The first epoch of the highest score; none where it was never found.

    Args:
        history: from `read_history`.
        score: the column's name, such as `val_dice`.
    """
    scored = [row for row in history if not math.isnan(row[score])]
    return max(scored, key=lambda row: row[score], default=None)


def told_epochs(history: Sequence[Mapping[str, float]], score: str) -> dict[str, Any]:
    """What `metrics.json` says of a training: its length, and the epoch that was chosen.

    Args:
        history: from `read_history`.
        score: what was validated, such as `auc`.
    """
    best = best_row(history, f"val_{score}")
    return {
        "epochs": len(history),
        "steps": int(history[-1]["step"]),
        "chosen_epoch": len(history) if best is None else int(best["epoch"]) + 1,
        f"validation_{score}": None if best is None else best[f"val_{score}"],
        "seconds": round(sum(row["seconds"] for row in history), 2),
    }
