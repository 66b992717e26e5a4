"""Which processors a run uses, in which precision, and Lightning kept from talking about it."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from thirdaxis.convert.lift import beside
from thirdaxis.errors import UsageError

LOGGERS = ("lightning.pytorch", "lightning.fabric")


def pick_accelerator(wanted: str, devices: int) -> str:
    """Chooses `gpu` or `cpu`.

    Args:
        wanted: `auto`, `cpu` or `gpu`.
        devices: how many are needed.

    Raises:
        UsageError: more graphics cards than there are.
    """
    have = torch.cuda.device_count()
    if wanted == "auto":
        wanted = "gpu" if have else "cpu"
    if wanted == "gpu" and have < devices:
        raise UsageError(
            f"{devices} graphics cards were asked for, torch sees {have}; "
            "lower devices, or take accelerator 'cpu'"
        )
    return wanted


def pick_device(accelerator: str) -> torch.device:
    """The device to predict on.

    Args:
        accelerator: `auto`, `cpu` or `gpu`.

    Raises:
        UsageError: `gpu` where there is none.
    """
    if accelerator == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator == "gpu":
        raise UsageError("accelerator 'gpu' was asked for, but torch sees none; use 'cpu'")
    return torch.device("cpu")


def pick_precision(wanted: str, accelerator: str) -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """Lightning's name of a precision; `auto` is bf16 where a graphics card has it.

    Args:
        wanted: `auto`, `32`, `16-mixed` or `bf16-mixed`.
        accelerator: `cpu` or `gpu`.
    """
    if wanted == "16-mixed":
        return "16-mixed"
    has_bf16 = accelerator == "gpu" and torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "bf16-mixed" or (wanted == "auto" and has_bf16):
        return "bf16-mixed"
    return "32-true"


def autocast(wanted: str, device: torch.device) -> AbstractContextManager[object]:
    """The mixed precision to predict in.

    Args:
        wanted: `auto`, `32`, `16-mixed` or `bf16-mixed`.
        device: that the network is on.
    """
    precision = pick_precision(wanted, "gpu" if device.type == "cuda" else "cpu")
    if precision == "32-true":
        return nullcontext()
    half = torch.float16 if precision == "16-mixed" else torch.bfloat16
    return torch.autocast(device.type, half)


def processes(accelerator: str, net: nn.Module, sample: tuple[int, ...] | None) -> DDPStrategy:
    """One process a device: those of `torchrun`, or spawned, so that all else stays in this one.

    Args:
        accelerator: `cpu` or `gpu`.
        net: the network of the run.
        sample: shape (C, D, H, W) that the network takes; none where it depends on the sample which
            weights get a gradient.
    """
    return QuietDDP(
        start_method="popen" if by_torchrun() else "spawn",
        process_group_backend="nccl" if accelerator == "gpu" else "gloo",
        find_unused_parameters=sample is None or has_idle_weights(net, sample),
    )


def by_torchrun() -> bool:
    """Whether this is one of several processes that `torchrun` started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """Number of this process among those that `torchrun` started; 0 by itself."""
    return int(os.environ["RANK"]) if by_torchrun() else 0


def check_launch(devices: int, nodes: int) -> None:
    """Checks that `torchrun` started as many processes as the settings say.

    Args:
        devices: of a machine.
        nodes: machines.

    Raises:
        UsageError: other numbers, or several machines without `torchrun`.
    """
    if not by_torchrun():
        if nodes > 1:
            raise UsageError(f"{nodes} nodes were asked for; start the run on each by torchrun")
        return
    here, all_of_them = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    if (devices, devices * nodes) != (here, all_of_them):
        raise UsageError(
            f"torchrun started {all_of_them} processes, {here} of them here, the settings say "
            f"devices {devices} and nodes {nodes}; make them agree"
        )


def has_idle_weights(net: nn.Module, sample: tuple[int, ...]) -> bool:
    """Whether some weights get no gradient, such as those of an auxiliary head.

    Args:
        net: maps volumes to one tensor.
        sample: shape (C, D, H, W) of a volume.

    Returns:
        True when a parameter that wants a gradient has none after a backward pass. The network's
        mode and gradients are as before.
    """
    training = net.training
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    kept = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    volume = torch.zeros(1, *sample)
    net.eval()(volume, **beside(net, volume)).sum().backward()
    idle = any(weight.grad is None for weight in weights)
    for weight, grad in zip(weights, kept, strict=True):
        weight.grad = grad
    net.train(training)
    return idle


class QuietDDP(DDPStrategy):
    """DDP whose spawned processes are as quiet as the first one."""

    def setup_environment(self) -> None:
        """Lightning calls this first in every process."""
        if torch.multiprocessing.parent_process() is not None:
            hush()
        super().setup_environment()


def hush() -> None:
    """Silences Lightning's hints on hardware and loaders in this process."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")


@contextmanager
def quiet() -> Iterator[None]:
    """Hushes inside the block alone."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            hush()
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
