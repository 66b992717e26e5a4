"""`prove`: what "this 2D network converts" means, tried out claim by claim in numbers."""

from dataclasses import dataclass

import torch
from torch import nn

from thirdaxis.convert.carrier import Setting
from thirdaxis.convert.check import ROUGH, TOLERANCE, calibrated, rms, tensors
from thirdaxis.convert.claims import CLAIMS, Trial
from thirdaxis.convert.rules_conv import LIFTED, Executed
from thirdaxis.convert.settings import base_setting
from thirdaxis.errors import UsageError
from thirdaxis.fusion.base import Fusion


@dataclass(frozen=True)
class Proof:
    """Outcome of `prove`.

    Attributes:
        claims: what was tried and holds, in order.
        failure: the first claim that does not hold and why, or ``""``.
        notes: what could not be tried, because the 2D network itself cannot do it.
        error: largest deviation from the 2D answers under ``slicewise``, as a share of the
            sensitivity.
        sensitivity: root mean square change of the 2D answer when the picture changes, as a share
            of the answer's own root mean square.
        executed: spatial convolutions that ran under the fusion asked for.
        depth_stride: whether depth was strided with the plane by default.
        parameters: number of parameters of the 2D network.
    """

    claims: tuple[str, ...]
    failure: str
    notes: tuple[str, ...]
    error: float
    sensitivity: float
    executed: tuple[Executed, ...]
    depth_stride: bool
    parameters: int

    @property
    def passed(self) -> bool:
        """Whether every claim holds."""
        return not self.failure

    @property
    def lifted(self) -> int:
        """How many of the spatial convolutions look along depth."""
        return sum(run.status == LIFTED for run in self.executed)


def prove(
    net: nn.Module,
    pictures: torch.Tensor,
    fusion: str | Fusion = "acs",
    *,
    depth_stride: bool | None = None,
) -> Proof:
    """Tries out everything that the conversion of a network promises.

    Under ``slicewise``, judged against how much the answer changes with the picture, and with batch
    norms calibrated on the pictures: a volume of identical slices gives the 2D answer, with depth
    strided and kept; and each of several different slices gets its own 2D answer, whatever its
    neighbours hold (vectors: the mean over slices), and every parameter its gradient. A network
    that keeps depth by default may refuse to stride it, which is noted. Under ``fusion``: cubes,
    volumes of unequal sides, of odd and even depth and of a single slice come out in the right rank
    and size;
    every spatial convolution that the 2D network runs is lifted, or not square; names and shapes
    of the parameters are those of the 2D network, whose checkpoint loads strictly; in training mode
    gradients reach the parameters that they reach in 2D. Cubes too large to compute in reasonable
    time go through as shapes alone. Works on copies, and leaves the random state as it was.

    Args:
        net: a 2D network.
        pictures: two or more pictures (N, C, H, W) that it takes; small ones make it quick.
        fusion: as for `convert`, like the rest.
        depth_stride: see `convert`.

    Returns:
        The claims that hold, and the first that does not.

    Raises:
        UsageError: fewer than two pictures, or no pictures; a fusion that fixes the depth.
        InputError: the 2D network cannot take them.
    """
    if pictures.dim() != 4 or len(pictures) < 2:
        raise UsageError(f"prove takes two or more pictures (N, C, H, W), got {pictures.shape}")
    setting = base_setting(net, fusion, depth_stride, None)
    if setting.fusion.fixed_depth() is not None:
        raise UsageError(
            f"prove tries volumes of several depths, and {setting.fusion.name!r} takes one alone"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trial = _trial(net, pictures[:2], setting)
        held, failure = [], ""
        for claim, attempt in CLAIMS.items():
            try:
                attempt(trial)
            except (torch.OutOfMemoryError, MemoryError):
                raise
            except Exception as error:  # whatever goes wrong refutes the claim
                said = str(error).strip() or type(error).__name__
                failure = f"{claim}: {said.splitlines()[0]}"
                break
            held.append(claim)
    return Proof(
        tuple(held),
        failure,
        tuple(trial.notes),
        trial.error,
        trial.sensitivity,
        trial.executed,
        setting.depth_stride,
        sum(p.numel() for p in net.parameters()),
    )


def _trial(net: nn.Module, pictures: torch.Tensor, setting: Setting) -> Trial:
    noise = pictures.std() * torch.randn_like(pictures)
    slices = torch.stack([pictures, pictures.roll(1, 0) + 0.1 * noise, 0.5 * pictures + noise])
    with torch.no_grad():
        flat, calm = calibrated(net, slices.flatten(0, 1))
        slices = calm.view(slices.shape)
        answers, changed = tensors(flat(slices[0])), tensors(flat(slices[1]))
    change = rms([a - b for a, b in zip(answers, changed, strict=True)])
    tolerance = TOLERANCE.get(slices.dtype, ROUGH)
    sensitivity = change / max(rms(answers), 1e-30)
    return Trial(net, flat, slices, setting, answers, change, sensitivity, tolerance)
