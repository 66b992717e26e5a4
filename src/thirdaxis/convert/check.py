"""The self-check: identical slices must give the 2D answer, and every convolution is counted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from thirdaxis.convert.carrier import ConversionError, Setting
from thirdaxis.convert.copies import copied, refuse_unfinished
from thirdaxis.convert.entry import logged
from thirdaxis.convert.lift import beside, lift, twin
from thirdaxis.convert.nested import tensors_in
from thirdaxis.convert.planting import fixed_depth
from thirdaxis.convert.private import BatchNorm
from thirdaxis.convert.rules_conv import LIFTED, NO_FUSION, Executed
from thirdaxis.convert.settings import Override, base_setting, settings_by_name
from thirdaxis.errors import InputError, UsageError
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.slicewise import Slicewise

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
ROUGH = 0.1
REACTS = 1e-5
DEPTH_OF_PICTURES = 5


@dataclass(frozen=True)
class Check:
    """Outcome of a self-check.

    Attributes:
        error: largest difference between the 2D answer and that for a volume of identical slices
            under ``slicewise``, as a share of the network's sensitivity.
        sensitivity: root mean square change of the 2D answer when the picture changes, as a share
            of the answer's own root mean square.
        executed: spatial convolutions that ran under the fusion asked for.
        tolerance: largest error that rounding explains, by the precision of the check.
    """

    error: float
    sensitivity: float
    executed: tuple[Executed, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the numbers agree."""
        return self.error <= self.tolerance

    @property
    def conclusive(self) -> bool:
        """Whether the network reacts to its input enough for the numbers to mean something."""
        return self.sensitivity > REACTS

    @property
    def lifted(self) -> int:
        """How many of the spatial convolutions look along depth."""
        return sum(run.status == LIFTED for run in self.executed)

    def raise_if_failed(self) -> None:
        """Raises ConversionError where the conversion cannot be trusted."""
        if not self.passed:
            raise ConversionError(
                "self-check failed: under slicewise, identical slices miss the 2D answer by "
                f"{self.error:.1e} of its sensitivity, more than the {self.tolerance:.0e} that "
                "rounding explains; an operation of the network has a wrong rule: please report "
                "the network"
            )

    def __str__(self) -> str:
        """A few lines for people."""
        verdict = "ok" if self.passed else "FAILED"
        if self.passed and not self.conclusive:
            verdict = "inconclusive, the network hardly reacts to its input"
        lines = [
            f"identical slices give the 2D answer: {verdict} (error {self.error:.1e} of the "
            f"sensitivity; sensitivity {self.sensitivity:.1e})",
            f"spatial convolutions: {len(self.executed)} executed, {self.lifted} lifted",
        ]
        return "\n".join(lines + list(unlifted(self.executed)))


def unlifted(executed: tuple[Executed, ...] | list[Executed]) -> list[str]:
    """A line for each spatial convolution that acts slice by slice though the fusion mixes."""
    return [
        f"  {run.module} {run.kernel[0]}x{run.kernel[1]}: {run.status}"
        for run in dict.fromkeys(executed)
        if run.status not in {LIFTED, NO_FUSION}
    ]


def check(
    net: nn.Module,
    example: torch.Tensor,
    fusion: str | Fusion = "acs",
    *,
    depth_stride: bool | None = None,
    statistics: str | None = None,
    overrides: Mapping[str, Override] | None = None,
) -> Check:
    """Checks numerically that a 2D network converts right.

    A volume of identical slices must give the 2D answer under ``slicewise``, within rounding: the
    error is judged against how much the answer changes when the picture does. The spatial
    convolutions that run under ``fusion`` are counted. Works on copies in eval mode whose batch
    norms are calibrated on the example, so that random weights react to it too.

    Args:
        net: a 2D network.
        example: pictures (N, C, H, W) or volumes (N, C, D, H, W); a single channel is repeated for
            a network that takes more.
        fusion: as for `convert`, like the rest.
        depth_stride: see `convert`.
        statistics: see `convert`.
        overrides: see `convert`.

    Raises:
        UsageError: the example is neither pictures nor volumes.
        InputError: the 2D network cannot take such pictures.
        ConversionError: something in the network has no rule.
    """
    refuse_unfinished(net)
    base = base_setting(net, fusion, depth_stride, statistics)
    return check_settings(net, example, settings_by_name(net, base, overrides or {}))


def check_settings(net: nn.Module, example: torch.Tensor, settings: Mapping[str, Setting]) -> Check:
    """`check` for settings that are worked out by module."""
    pictures, depth = _pictures(net, example, fixed_depth(settings) or DEPTH_OF_PICTURES)
    slicewise = {
        name: replace(setting, fusion=Slicewise(), statistics="slice")
        for name, setting in settings.items()
    }
    with torch.no_grad():
        flat, pictures = calibrated(net, pictures)
        answer = tensors(flat(pictures))
        changed = tensors(flat(pictures.roll(1, 0) + 0.1 * torch.randn_like(pictures)))
        volume = pictures.unsqueeze(2).repeat(1, 1, depth, 1, 1)
        same = tensors(lift(twin(flat), slicewise)(volume))
        with logged() as log:
            lifted = lift(twin(flat), settings)
            lifted(volume, **beside(lifted, volume))
    error, sensitivity = _compare(answer, changed, same)
    return Check(error, sensitivity, tuple(log), TOLERANCE.get(pictures.dtype, ROUGH))


def tensors(output: Any) -> list[torch.Tensor]:
    """The floating-point tensors of an output, in order."""
    return [x for x in tensors_in(output) if x.is_floating_point()]


def _pictures(net: nn.Module, example: torch.Tensor, otherwise: int) -> tuple[torch.Tensor, int]:
    """At least two pictures from an example, and how many slices a volume of it has."""
    if example.dim() not in (4, 5):
        raise UsageError(
            f"check takes an example (N, C, H, W) or (N, C, D, H, W), got {tuple(example.shape)}"
        )
    depth = example.shape[2] if example.dim() == 5 else otherwise
    pictures = example.movedim(2, 1).flatten(0, 1)[:2] if example.dim() == 5 else example
    channels = next((m.in_channels for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    if pictures.shape[1] == 1 and channels is not None:
        pictures = pictures.repeat(1, channels, 1, 1)
    if len(pictures) < 2:
        pictures = torch.cat([pictures, pictures.flip(-1)])
    return pictures, depth


def calibrated(net: nn.Module, pictures: torch.Tensor) -> tuple[nn.Module, torch.Tensor]:
    """A copy in eval mode whose batch norms have the statistics of these pictures, and these.

    In double precision, so that rounding says nothing; in the network's own where its code insists.
    """
    own = next((p.dtype for p in net.parameters() if p.is_floating_point()), pictures.dtype)
    for dtype in (torch.float64, own):
        flat, cast = copied(net).to(dtype).eval(), pictures.to(dtype)
        norms = [module for module in flat.modules() if isinstance(module, BatchNorm)]
        hooks = [norm.register_forward_hook(_keep_statistics) for norm in norms]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        try:
            flat(cast)
            for hook in hooks:
                hook.remove()
            return flat.eval(), cast
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = error
    raise InputError(
        f"check: the 2D network itself cannot take pictures {tuple(pictures.shape)}: "
        f"{(str(reason).strip() or type(reason).__name__).splitlines()[0]}"
    ) from reason


def _keep_statistics(norm: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
    """The variance by which a batch was divided, where the norm keeps an estimate of another.

    Deep networks with few positions left drift far from what they were calibrated on otherwise.
    """
    count = inputs[0].numel() // inputs[0].shape[1]
    if norm.running_var is not None:
        norm.running_var *= (count - 1) / count


def _compare(
    answer: list[torch.Tensor], changed: list[torch.Tensor], same: list[torch.Tensor]
) -> tuple[float, float]:
    """(error as a share of the sensitivity, sensitivity as a share of the answer)."""
    if not answer or len(answer) != len(same):
        raise ConversionError(
            f"self-check failed: the 2D network returns {len(answer)} tensors, the converted one "
            f"{len(same)}"
        )
    change = rms([a - b for a, b in zip(answer, changed, strict=True)])
    worst = 0.0
    for flat, volume in zip(answer, same, strict=True):
        if volume.dim() == flat.dim() + 1:
            flat = flat.unsqueeze(max(1, flat.dim() - 2))
        if volume.dim() != flat.dim():
            raise ConversionError(
                f"self-check failed: the 2D network returns {tuple(flat.shape)}, the converted "
                f"one {tuple(volume.shape)}"
            )
        worst = max(worst, (volume - flat).abs().max().item())
    return worst / max(change, 1e-30), change / max(rms(answer), 1e-30)


def rms(values: list[torch.Tensor]) -> float:
    """Root mean square over all numbers of all tensors."""
    return torch.cat([v.double().flatten() for v in values]).square().mean().sqrt().item()
