"""The network of any run: a 2D network by name, its weights, converted as the settings say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from thirdaxis.errors import InputError
from thirdaxis.fusion.a3d import A3D
from thirdaxis.fusion.table import resolve
from thirdaxis.nets.ahnet import AHNet
from thirdaxis.nets.ahnet_weights import check_encoder, encoder_tensors
from thirdaxis.nets.build import Task, weights_named
from thirdaxis.nets.frozen import freeze
from thirdaxis.nets.volumes import make_volumetric
from thirdaxis.nets.weights import WeightsReport, transfer
from thirdaxis.tasks.keep import BEST, read_checkpoint
from thirdaxis.tasks.settings import RunSettings


@dataclass(frozen=True)
class Made:
    """A converted network and what was loaded into it; no report where nothing was."""

    net: nn.Module
    weights: WeightsReport | None

    def told(self) -> str:
        """The account of the weights, in words."""
        return str(self.weights) if self.weights else "random start, no weights were loaded"


def converted(
    settings: RunSettings,
    task: Task,
    *,
    classes: int,
    channels: int,
    depth: int,
    load: bool,
    change: Callable[[nn.Module], None] = lambda net: None,
) -> Made:
    """Builds, loads and converts the network of a run, from the run's seed.

    Args:
        settings: of the run.
        task: what the network is built for.
        classes: channels of its answer.
        channels: of the volumes.
        depth: slices of the volumes, which `a3d` has to know.
        load: whether to load the pretrained weights the settings name.
        change: made to the 2D network before it is converted.

    Returns:
        The 3D network in training mode.

    Raises:
        ThirdaxisError: an unknown network or fusion, or weights that do not fit.
    """
    torch.manual_seed(settings.seed)
    weights = weights_named(settings.weights) if load else None
    run = weights if isinstance(weights, Path) and weights.is_dir() else None
    fusion = resolve(settings.fusion)
    if isinstance(fusion, A3D):
        fusion = replace(fusion, depth=depth)
    net, report = make_volumetric(
        settings.network,
        fusion,
        None if run else weights,
        classes=classes,
        channels=channels,
        task=task,
        change=change,
        start=settings.start,
        zero_last_norm=settings.zero_last_norm,
        depth_stride=settings.depth_stride,
        stem=settings.stem,
        statistics=settings.statistics,
        overrides=settings.overrides or None,
    )
    if run is not None:
        report = from_run(net, run)
    freeze(net, settings.freeze)
    return Made(net.train(), report)


def from_run(net: nn.Module, folder: Path) -> WeightsReport:
    """Fills a converted network, head and all, from the best one of a run, by name and shape.

    So a network that learned single slices (fusion `slicewise`, patches one slice deep) starts one
    that sees volumes: an ordinary 2D pretraining on the data set itself.

    Args:
        net: filled in place.
        folder: of the run.

    Raises:
        InputError: not a run folder, nothing in it fits, or as `check_fit`.
    """
    state = read_checkpoint(folder / BEST)["state_dict"]
    inner = {name.removeprefix("net."): value for name, value in state.items()}
    check_fit(net, inner, str(folder))
    return transfer(net, inner, str(folder / BEST))


def check_fit(net: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Checks that a network can begin with the tensors of a run.

    Args:
        net: converted.
        tensors: name -> tensor; on the meta device they will do.
        source: what to call the run.

    Raises:
        InputError: 2D kernels where this network has 3D ones of its own; or, for an AH-Net, an
            encoder that is not wholly its own, which training would then hide.
    """
    if isinstance(net, AHNet):
        check_encoder(net, encoder_tensors(tensors), source)
    for name, own in net.state_dict().items():
        if name in tensors and tensors[name].ndim != own.ndim:
            raise InputError(
                f"{source}: its {name} has {tensors[name].ndim} axes, here {own.ndim} are needed; "
                "take a fusion that keeps 2D kernels, such as acs, in both runs"
            )
