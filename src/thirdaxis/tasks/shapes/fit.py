"""Training that is tested after every epoch, and goes on where it was stopped."""

import io
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.utils.data import Dataset, TensorDataset

from thirdaxis.atomic import atomic_path, write_text
from thirdaxis.errors import InputError, UsageError
from thirdaxis.metrics.dice import overlap
from thirdaxis.metrics.table import strict
from thirdaxis.tasks.shapes.quickstart import Say, batches, soft_dice_loss
from thirdaxis.tasks.shapes.recipe import Schedule

Items = Dataset[tuple[Tensor, Tensor]]
State = dict[str, Any]
PRECISIONS = {"32": "32-bit floats", "bf16": "bfloat16 mixed with 32-bit floats"}
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
FOREGROUND = slice(None, -1)  # the background is the last class
TENSORS = ("net", "optimizer", "best")
TOGETHER = 2**19  # pixels or voxels that are tested at a time: more would leave a CPU's caches


@dataclass(frozen=True)
class Machine:
    """What a network runs on: a device and ``"32"`` or ``"bf16"``, mixed with 32-bit floats."""

    device: str = "cpu"
    precision: str = "32"

    def __str__(self) -> str:
        return f"torch {torch.__version__}, {self.device}, {PRECISIONS[self.precision]}"

    def answer(self, net: nn.Module, image: Tensor) -> Tensor:
        """A network's 32-bit answer to images or volumes from anywhere."""
        # In this order of memory most convolutions are a third faster on a CPU.
        order = LAYOUTS.get(image.ndim, torch.contiguous_format)
        image = image.to(self.device, memory_format=order)  # type: ignore[call-overload]
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            return net(image).float()


CPU = Machine()


def held(data: Items) -> Items:
    """All items of a data set in memory, labels as bytes."""
    images, labels = next(batches(data, len(data)))  # type: ignore[arg-type]
    return cast(Items, TensorDataset(images, labels.to(torch.uint8)))


def read_state(path: Path, settings: dict[str, Any] | None = None) -> State | None:
    """What a run left at its last epoch, tensors and plain values only; none where it did not.

    Args:
        path: the file.
        settings: what it was to be made with; none takes any.

    Raises:
        InputError: the file is damaged.
        UsageError: the file was made with other settings.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        made_with = state["settings"]
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: not a checkpoint that can be read ({reason})") from error
    _refuse_other(path, made_with, settings)
    return state


def read_numbers(path: Path, settings: dict[str, Any] | None = None) -> State | None:
    """As `read_state` but for weights, and from the checkpoint's ``.json`` where that is all.

    So the numbers of runs on several machines make one table, without their weights.
    """
    state = read_state(path, settings)
    beside = path.with_suffix(".json")
    if state is not None or not beside.is_file():
        return state
    try:
        state = json.loads(beside.read_text(encoding="utf-8"))
        made_with, history = state["settings"], state["history"]
        for row in history:
            for name in ("dice", "iou"):
                row[name] = [math.nan if value is None else value for value in row[name]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{beside}: not the numbers of a run ({error!r})") from error
    _refuse_other(beside, made_with, settings)
    return state


def _refuse_other(path: Path, made_with: Any, settings: dict[str, Any] | None) -> None:
    if settings is not None and made_with != settings:
        raise UsageError(
            f"{path}: made by another recipe or seed; name another --out, or delete this file"
        )


def fit(
    net: nn.Module,
    schedule: Schedule,
    data: Items,
    test: Items,
    path: Path,
    settings: dict[str, Any],
    say: Say,
    machine: Machine = CPU,
    untrained: Callable[[nn.Module], float] | None = None,
) -> State:
    """Trains a network, with a checkpoint after every epoch; goes on from the one that is there.

    The order of the batches depends on the seed and the epoch alone, so that a run that was
    stopped and goes on gives what an unbroken one does.

    Args:
        net: at its start; holds the weights of the last epoch afterwards.
        schedule: how to train.
        data: items to train on.
        test: items to test on.
        path: the checkpoint; its folder exists.
        settings: plain values that tell this run from others, with its ``"seed"``.
        say: told one line an epoch.
        machine: what to train on; a run may go on on another one.
        untrained: a number to find of the network before it is trained.

    Returns:
        The checkpoint: ``settings``, ``epoch`` (how many are done), ``net``, ``optimizer``,
        ``history`` (a row an epoch), ``best`` (the weights of the epoch of highest foreground
        Dice), ``untrained``, ``parameters`` (how many) and ``on`` (the machines in words).
    """
    net = net.to(machine.device)
    optimizer = make_optimizer(net, schedule)
    state = read_state(path, settings)
    if state is None:
        state = {"settings": settings, "epoch": 0, "history": []}
        state["untrained"] = untrained(net) if untrained else None
        state["parameters"] = sum(weight.numel() for weight in net.parameters())
        state["on"] = []
        _write(state | _weights(net, optimizer), path)
    else:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
    state["on"] = sorted({*state["on"], str(machine)})
    for epoch in range(state["epoch"], schedule.epochs):
        began = time.monotonic()
        fallen = sum(epoch >= milestone for milestone in schedule.milestones)
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate * 0.1**fallen
        order = torch.Generator().manual_seed(settings["seed"] * 1000 + epoch)
        loss = _train_epoch(net, optimizer, batches(data, schedule.batch, order), machine)
        found = scores(net, test, schedule.test_batch, machine)
        seconds = time.monotonic() - began
        row = {"epoch": epoch + 1, "loss": loss, "seconds": seconds, **found}
        state["history"].append(row)
        state["epoch"] = epoch + 1
        state |= _weights(net, optimizer)
        if best_row(state["history"]) is row:
            state["best"] = {name: value.clone() for name, value in state["net"].items()}
        _write(state, path)
        say(
            f"  epoch {epoch + 1}/{schedule.epochs}: loss {loss:.4f}, "
            f"Dice {mean_of(found['dice']):.4f}, {seconds:.0f} s"
        )
    return state


def make_optimizer(net: nn.Module, schedule: Schedule) -> Optimizer:
    """SGD or Adam as the schedule says."""
    common: dict[str, Any] = {"lr": schedule.learning_rate, "weight_decay": schedule.weight_decay}
    if schedule.optimiser == "sgd":
        return SGD(net.parameters(), momentum=schedule.momentum, **common)
    return Adam(net.parameters(), **common)


@torch.no_grad()
def scores(
    net: nn.Module, test: Items, batch: int, machine: Machine = CPU
) -> dict[str, list[float]]:
    """Dice and intersection over union of each class, over each batch, then their mean.

    Args:
        net: gives class scores.
        test: items ``(image, labels)``.
        batch: items over which a score is taken.
        machine: where the network is.

    Returns:
        ``dice`` and ``iou``, in the order of the classes; nan for a class never seen.
    """
    net.eval()
    dice, iou = [], []
    for image, labels in batches(test, batch):
        parts = image.split(max(1, TOGETHER // image[0].numel()))
        logits = torch.cat([machine.answer(net, part) for part in parts])
        classes = range(logits.shape[1])
        counts = overlap(logits.argmax(1), labels.to(logits.device), classes)
        both, total = torch.tensor([counts[c] for c in classes], dtype=torch.float64).unbind(1)
        dice.append(2 * both / total)
        iou.append(both / (total - both))
    return {
        "dice": torch.stack(dice).nanmean(0).tolist(),
        "iou": torch.stack(iou).nanmean(0).tolist(),
    }


def best_row(history: list[dict[str, Any]], of: slice = FOREGROUND) -> dict[str, Any]:
    """The first epoch of the highest mean Dice of these classes; nan counts as the worst."""
    return max(history, key=lambda row: max(-1.0, mean_of(row["dice"], of)))


def mean_of(values: list[float], of: slice = FOREGROUND) -> float:
    """The mean over these classes, nan ones left out."""
    return torch.tensor(values[of], dtype=torch.float64).nanmean().item()


def _train_epoch(
    net: nn.Module,
    optimizer: Optimizer,
    steps: Iterator[tuple[Tensor, Tensor]],
    machine: Machine,
) -> float:
    net.train()
    losses = []
    for image, labels in steps:
        logits = machine.answer(net, image)
        loss = soft_dice_loss(logits, labels.to(logits.device).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def _weights(net: nn.Module, optimizer: Optimizer) -> State:
    return {"net": net.state_dict(), "optimizer": optimizer.state_dict()}


def _write(state: State, path: Path) -> None:
    buffer = io.BytesIO()
    # Straight into the file, torch would answer a full disk with an internal error.
    torch.save(state, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    told = {name: value for name, value in state.items() if name not in TENSORS}
    write_text(path.with_suffix(".json"), json.dumps(strict(told), indent=1, allow_nan=False))
