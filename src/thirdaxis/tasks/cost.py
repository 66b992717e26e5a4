"""What a network would cost, counted on the meta device, where nothing is computed or held."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from thirdaxis.convert.lift import beside

SIDES = (8, 16, 32, 64, 128)
STATES = {"adamw": 2, "adam": 2, "sgd": 1}


@dataclass(frozen=True)
class Cost:
    """What a training step takes.

    Args:
        parameters: of the network.
        macs: multiply-accumulates of one sample, forward.
        kept: bytes of a batch that wait for the way back, in 32 bits.
        held: bytes of weights, gradients and the optimiser's state.
        answer: shape of the answer to a batch.
    """

    parameters: int
    macs: int
    kept: int
    held: int
    answer: tuple[int, ...]

    def __str__(self) -> str:
        return (
            f"{self.parameters / 1e6:.2f} M parameters, {self.macs / 1e9:.2f} G MACs a sample, "
            f"about {(self.kept + self.held) / 2**30:.1f} GiB to train a batch in 32 bits"
        )


def smallest_patch(
    net: nn.Module, channels: int, patch: tuple[int, int, int]
) -> tuple[int, int, int]:
    """The smallest patch, no larger than `patch`, that a network trains on; tried on meta.

    Args:
        net: its weights on the meta device.
        channels: of the volume.
        patch: (d, h, w).
    """
    for most in SIDES:
        d, h, w = (min(side, most) for side in patch)
        batch = torch.zeros(2, channels, d, h, w, device="meta")
        try:
            answer = net.train()(batch, **beside(net, batch))
        except (RuntimeError, ValueError):  # what layers say to maps that are too small
            continue
        if answer.ndim == 2 or answer.shape[2:] == batch.shape[2:]:
            return d, h, w
    return patch


def cost_of(net: nn.Module, shape: tuple[int, ...], optimiser: str) -> Cost:
    """Counts a forward pass of a network on the meta device.

    Args:
        net: its weights on the meta device.
        shape: of a batch, (N, C, D, H, W).
        optimiser: by name, for the numbers it keeps beside each weight.
    """
    waiting: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        waiting[storage._cdata] = storage.nbytes()
        return tensor

    batch = torch.zeros(shape, device="meta")
    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with FlopCounterMode(display=False) as counter, hooks:
        answer = net.train()(batch, **beside(net, batch))
    weights = list(net.parameters())
    own = {weight.untyped_storage()._cdata for weight in weights}
    parameters = sum(weight.numel() for weight in weights)
    return Cost(
        parameters=parameters,
        macs=counter.get_total_flops() // 2 // shape[0],
        kept=sum(size for storage, size in waiting.items() if storage not in own),
        held=4 * parameters * (2 + STATES[optimiser]),
        answer=tuple(answer.shape),
    )
