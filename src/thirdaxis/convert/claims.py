"""What "this 2D network converts" claims, one by one, each with the trial that could refute it."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from thirdaxis.convert.carrier import ConversionError, Setting
from thirdaxis.convert.check import tensors
from thirdaxis.convert.entry import logged
from thirdaxis.convert.lift import beside, lift, twin
from thirdaxis.convert.network import convert
from thirdaxis.convert.planting import own_parameters
from thirdaxis.convert.rules_conv import LIFTED, NON_SQUARE, Executed
from thirdaxis.convert.settings import settings_by_name
from thirdaxis.convert.slopes import (
    Refuted,
    same_checkpoint,
    same_parameters,
    same_slopes,
    slopes,
)
from thirdaxis.fusion.slicewise import Slicewise

REACTS = 1e-5
LARGEST_CUBE = {True: 64, False: 32}  # by whether depth is strided
TELLING = 8  # rows from which the height of a map tells its stride


@dataclass
class Trial:
    """A network on trial, and what has been found so far."""

    net: nn.Module
    flat: nn.Module
    slices: torch.Tensor
    setting: Setting
    answers: list[torch.Tensor]
    change: float
    sensitivity: float
    tolerance: float
    error: float = 0.0
    executed: tuple[Executed, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> torch.Tensor:
        """Two pictures; the slices are three pairs, on which the norms are calibrated."""
        return self.slices[0]

    @property
    def odd(self) -> int:
        """An odd number of slices; fewer where depth is kept, for no stride meets them."""
        return 5 if self.setting.depth_stride else 3

    def lifted(self, **changes: Any) -> nn.Module:
        """The network, in eval mode and with calibrated norms, on volumes."""
        setting = replace(self.setting, **changes)
        return lift(twin(self.flat), settings_by_name(self.flat, setting, {}))

    def agree(self, expected: torch.Tensor, found: torch.Tensor) -> None:
        """Refutes where two answers differ by more than rounding explains."""
        if expected.shape != found.shape:
            raise Refuted(f"{tuple(found.shape)} came, expected {tuple(expected.shape)}")
        if not expected.numel():
            return
        error = (expected - found).abs().max().item() / max(self.change, 1e-30)
        self.error = max(self.error, error)
        if not error <= self.tolerance:
            raise Refuted(f"misses the 2D answer by {error:.1e} of its sensitivity")


def reacts(trial: Trial) -> None:
    """Without it, the numbers below would mean nothing."""
    if not trial.answers:
        raise Refuted("the 2D network returns no floating-point tensor")
    if not trial.sensitivity > REACTS:
        raise Refuted(f"its answer changes by {trial.sensitivity:.1e} of itself")


def identical_strided(trial: Trial) -> None:
    """A volume of identical slices; a network that keeps depth may say that it cannot stride."""
    net = trial.lifted(fusion=Slicewise(), depth_stride=True, statistics="slice")
    volume = trial.pictures.unsqueeze(2).repeat(1, 1, 4, 1, 1)
    try:
        with torch.no_grad():
            found = tensors(net(volume))
    except ConversionError as error:
        if trial.setting.depth_stride:
            raise
        trial.notes.append(f"not with depth_stride=True: {error}")
        return
    for expected, deep in zip(trial.answers, found, strict=True):
        if deep.dim() == expected.dim() + 1:
            axis = depth_axis(expected.dim())
            expected = expected.unsqueeze(axis).expand_as(deep)
        trial.agree(expected, deep)


def independent_kept(trial: Trial) -> None:
    """Three slices that differ: each gets its own 2D answer, and the weights its gradients."""
    net = trial.lifted(fusion=Slicewise(), depth_stride=False, statistics="slice")
    found = tensors(net(trial.slices.movedim(0, 2)))
    each = [tensors(trial.flat(pictures)) for pictures in trial.slices]
    expected = []
    for deep, *flat in zip(found, *each, strict=True):
        rank = flat[0].dim()
        if deep.dim() == rank + 1:
            expected.append(torch.stack(flat, depth_axis(rank)))
        else:
            expected.append(torch.stack(flat).mean(0))
        trial.agree(expected[-1].detach(), deep.detach())
    weighing = [torch.randn_like(x) for x in expected]
    same_slopes(
        slopes(trial.flat, expected, weighing), slopes(net, found, weighing), 10 * trial.tolerance
    )


def depth_axis(rank: int) -> int:
    """Where depth stands in the answer for a volume, by the rank of the 2D answer."""
    return 1 if rank == 3 else rank - 2


class Spatial(TorchFunctionMode):
    """Counts the spatial convolutions that a 2D network runs."""

    FUNCTIONS = (torch.conv2d, F.conv2d, torch.conv_transpose2d, F.conv_transpose2d)
    count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Looks at the kernel."""
        if func in self.FUNCTIONS:
            weight = args[1] if len(args) > 1 else (kwargs or {})["weight"]
            self.count += tuple(weight.shape[-2:]) != (1, 1)
        return func(*args, **(kwargs or {}))


def lifted_unequal_sides(trial: Trial) -> None:
    """An odd number of slices, wider than high where the 2D network takes that."""
    with torch.no_grad():
        for extra in (32, 0):
            picture = torch.randn_like(F.pad(trial.pictures, (0, extra)))
            try:
                with Spatial() as spatial:
                    expected = tensors(trial.flat(picture))
                break
            except Exception:  # libraries refuse a size in any way
                if not extra:
                    raise
                trial.notes.append("the 2D network takes one size of picture")
        size = (2, picture.shape[1], trial.odd, *picture.shape[2:])
        volume = torch.randn(size, dtype=picture.dtype)
        with logged() as log:
            net = trial.lifted()
            found = tensors(net(volume, **beside(net, volume)))
    right_sizes(expected, found, volume, trial.setting.depth_stride)
    trial.executed = tuple(log)
    flat = [run for run in log if run.status not in (LIFTED, NON_SQUARE)]
    if flat and trial.setting.fusion.mixes_slices:
        raise Refuted(f"{flat[0].module} {flat[0].status}")
    seen = sum(run.kernel != (1, 1) for run in log)
    if seen != spatial.count:
        raise Refuted(f"{spatial.count} spatial convolutions run in 2D, {seen} are seen in 3D")


def right_sizes(
    expected: list[torch.Tensor], found: list[torch.Tensor], volume: torch.Tensor, strided: bool
) -> None:
    """Refutes answers of the wrong rank or size, or that are not finite."""
    depth, height, width = volume.shape[2:]
    for flat, deep in zip(expected, found, strict=True):
        shape, came = list(flat.shape), list(deep.shape)
        dense = len(shape) > 2 and (len(shape) == 3 or max(shape[-2:]) > 1)
        if dense or len(came) == len(shape) + 1:
            axis = depth_axis(len(shape))
            slices = came[axis] if len(came) > axis else 0
            shape = [*shape[:axis], slices, *shape[axis:]]
            least, most = 1, depth
            if not strided or shape[-2:] == [height, width]:
                least = depth
            elif len(shape) == 5 and shape[-2] >= TELLING:
                least, most = slices_expected(depth, height, shape[-2])
            if not least <= slices <= most:
                raise Refuted(f"{slices} slices came of {depth}, expected {least} to {most}")
        if shape != came:
            raise Refuted(f"{tuple(came)} came for {tuple(volume.shape)}, {tuple(shape)} expected")
        if not deep.is_meta and not deep.isfinite().all():
            raise Refuted("the answer is not finite")


def slices_expected(depth: int, height: int, left: int) -> tuple[int, int]:
    """Fewest and most slices where depth is strided and a height has become ``left``."""
    return max(1, depth * left // (height + left)), max(1, -(-depth // max(1, height // left)))


def even_depth(trial: Trial) -> None:
    """An even number of slices, one volume in the batch."""
    runs(trial, trial.odd - 1, trial.setting.depth_stride)


def other_depth(trial: Trial) -> None:
    """The same with depth kept where it is strided by default."""
    if trial.setting.depth_stride:
        runs(trial, 4, depth_stride=False)


def single_slice(trial: Trial) -> None:
    """A volume of one slice."""
    runs(trial, 1, trial.setting.depth_stride)


def runs(trial: Trial, depth: int, depth_stride: bool) -> None:
    """A volume of so many slices comes out in the right rank and size."""
    volume = torch.randn_like(trial.pictures[:1].unsqueeze(2).repeat(1, 1, depth, 1, 1))
    with torch.no_grad():
        expected = tensors(trial.flat(trial.pictures[:1]))
        net = trial.lifted(depth_stride=depth_stride)
        found = tensors(net(volume, **beside(net, volume)))
    right_sizes(expected, found, volume, depth_stride)


def cubic(trial: Trial) -> None:
    """As many slices as rows and columns; shapes alone where that is much to compute."""
    side = max(trial.pictures.shape[-2:])
    net, device = trial.lifted(), torch.device("cpu")
    picture = torch.empty(1, trial.pictures.shape[1], side, side, dtype=trial.pictures.dtype)
    if side > LARGEST_CUBE[trial.setting.depth_stride] and shapes_alone(trial.flat, picture):
        device = torch.device("meta")
        net = copy.deepcopy(net).to(device)
    volume = torch.empty(1, picture.shape[1], side, side, side, dtype=picture.dtype, device=device)
    volume.normal_()
    with torch.no_grad():
        expected = tensors(trial.flat(picture.normal_()))
        found = tensors(net(volume, **beside(net, volume)))
    right_sizes(expected, found, volume, trial.setting.depth_stride)


def shapes_alone(flat: nn.Module, picture: torch.Tensor) -> bool:
    """Whether a 2D network runs without numbers."""
    try:
        with torch.no_grad():
            copy.deepcopy(flat).to("meta")(picture.to("meta"))
    except Exception:
        return False
    return True


def checkpoint_fits(trial: Trial) -> None:
    """Names and shapes of parameters and buffers are those of the 2D network."""
    fresh = convert(trial.net, trial.setting.fusion, depth_stride=trial.setting.depth_stride)
    same_checkpoint(trial.net, fresh)


def gradients(trial: Trial) -> None:
    """In training mode, with the caller's own norms and precision."""
    own = next((p.dtype for p in trial.net.parameters() if p.is_floating_point()), torch.float32)
    pictures = trial.pictures.to(own)
    reached = []
    for volumes in (False, True):
        net = copy.deepcopy(trial.net)
        if volumes:
            kept = trial.setting.depth_stride
            net = convert(net, trial.setting.fusion, depth_stride=kept)
        net.train()
        x = torch.stack([pictures + 0.5 * torch.randn_like(pictures) for _ in range(trial.odd)], 2)
        try:
            answers = tensors(net(x, **beside(net, x)) if volumes else net(x[:, :, 0]))
            torch.stack([out.square().sum() for out in answers]).sum().backward()
        except Exception as error:
            if volumes:
                raise
            said = str(error).strip().splitlines()
            trial.notes.append(f"2D training fails: {said[0] if said else type(error).__name__}")
            return
        found = {k for k, p in net.named_parameters() if p.grad is not None}
        reached.append(found - own_parameters(net))
    same_parameters(*reached)


CLAIMS: dict[str, Callable[[Trial], None]] = {
    "reacts to its input": reacts,
    "identical slices, depth strided": identical_strided,
    "independent slices, depth kept": independent_kept,
    "unequal sides, odd depth, lifted": lifted_unequal_sides,
    "even depth": even_depth,
    "even depth, kept": other_depth,
    "single slice": single_slice,
    "cube": cubic,
    "checkpoint": checkpoint_fits,
    "gradients in training": gradients,
}
