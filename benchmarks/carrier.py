"""What the carrier costs: a converted ResNet-50 against the same network written by hand in 3D.

The hand-written twin calls the same fusion operators from ordinary modules on (N, C, D, H, W), and
`BatchNorm3d`, `MaxPool3d` and `AdaptiveAvgPool3d` around them, in place where torchvision is. Both
must give the same numbers, forward and backward, before anything is timed. Times are taken in
turns within one process, and compared turn by turn; peaks are integrated from every allocation
that torch reports. What the carrier adds is also timed where next to nothing is computed: there its
own code and data stay in the processor's caches, which large activations drive them out of.

    python benchmarks/carrier.py --repeats 60 --threads 2
"""

import argparse
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tables
import torch
import torchvision
from torch import nn
from torch.profiler import ProfilerActivity, profile

import thirdaxis
from thirdaxis.axes import Geometry
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.depth import convolve_slices

FUSIONS = (thirdaxis.ACS(), thirdaxis.Slicewise())
SIZE = (1, 3, 32, 112, 112)
SMALL = (1, 3, 2, 33, 33)
Step = Callable[[], torch.Tensor]


class ByHand(nn.Module):
    """A `Conv2d` on volumes, as one writes it without a converter."""

    def __init__(self, conv: nn.Conv2d, fusion: Fusion):
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.geometry = Geometry(
            conv.kernel_size,
            conv.stride,
            conv.padding,
            groups=conv.groups,
            depth_stride=min(conv.stride),
        )
        self.convolve = convolve_slices if self.geometry.pointwise else fusion.convolve

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolve(x, self.weight, self.bias, self.geometry)


def by_hand(net: nn.Module, fusion: Fusion) -> nn.Module:
    """Replaces every spatial layer of a 2D ResNet by its 3D twin, in place."""
    for name, child in net.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(net, name, ByHand(child, fusion))
        elif isinstance(child, nn.BatchNorm2d):
            norm = nn.BatchNorm3d(child.num_features)
            norm.load_state_dict(child.state_dict())
            setattr(net, name, norm.train(child.training))
        elif isinstance(child, nn.MaxPool2d):
            setattr(net, name, nn.MaxPool3d(child.kernel_size, child.stride, child.padding))
        elif isinstance(child, nn.AdaptiveAvgPool2d):
            setattr(net, name, nn.AdaptiveAvgPool3d(1))
        else:
            by_hand(child, fusion)
    return net


def pair(fusion: Fusion) -> tuple[nn.Module, nn.Module]:
    """The hand-written and the converted network, with the same weights."""
    flat = torchvision.models.resnet50()
    hand = torchvision.models.resnet50()
    hand.load_state_dict(flat.state_dict())
    return by_hand(hand, fusion), thirdaxis.convert(flat, fusion, statistics="volume")


def inference(net: nn.Module, x: torch.Tensor) -> Step:
    """A forward pass without gradients."""

    def step() -> torch.Tensor:
        net.eval()
        with torch.no_grad():
            return net(x)

    return step


def training(net: nn.Module, x: torch.Tensor) -> Step:
    """A training step: forward, loss, backward, plain SGD."""
    sgd = torch.optim.SGD(net.parameters(), lr=1e-4)

    def step() -> torch.Tensor:
        net.train()
        loss = net(x).square().mean()
        loss.backward()
        sgd.step()
        sgd.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def peak(step: Step) -> int:
    """Most bytes of tensors alive during a step, beyond those alive before it."""
    step()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    events = sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: e["ts"])
    alive = most = 0
    for event in events:
        alive += event["args"]["Bytes"]
        most = max(most, alive)
    return most


def times(steps: list[Step], repeats: int) -> list[list[float]]:
    """Milliseconds of every step, taken in turns, in changing order."""
    taken: list[list[float]] = [[] for _ in steps]
    for step in steps:
        step()
    for repeat in range(repeats):
        order = range(len(steps)) if repeat % 2 else reversed(range(len(steps)))
        for i in order:
            begin = time.perf_counter()
            steps[i]()
            taken[i].append(1000 * (time.perf_counter() - begin))
    return taken


def check_equal(hand: nn.Module, lifted: nn.Module, x: torch.Tensor) -> None:
    """Refuses to compare networks that do not compute the same, forward and backward."""
    for kind in (inference, training):
        torch.testing.assert_close(kind(hand, x)(), kind(lifted, x)(), rtol=0, atol=0)
    for net in (hand, lifted):
        net(x).square().mean().backward()
    pairs = zip(hand.parameters(), lifted.parameters(), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    for net in (hand, lifted):
        net.zero_grad(set_to_none=True)


def rows(fusion: Fusion, repeats: int) -> list[str]:
    """The lines of one fusion operator."""
    nets = pair(fusion)
    x, small = torch.randn(SIZE), torch.randn(SMALL)
    check_equal(*nets, x)
    found = []
    for kind in (inference, training):
        steps = [kind(net, x) for net in nets]
        hand, lifted = times(steps, repeats)
        each = sorted(b - a for a, b in zip(hand, lifted, strict=True))
        usual, added = statistics.median(hand), statistics.median(each)
        quarters = [each[len(each) // 4] / usual, each[3 * len(each) // 4] / usual]
        least = min(lifted) / min(hand)
        short = [min(taken) for taken in times([kind(net, small) for net in nets], 4 * repeats)]
        peaks = [peak(step) / 2**20 for step in steps]
        numbers = f"{usual:.0f} | {added:.1f} | {added / usual:+.1%}"
        spread = f"{quarters[0]:+.1%} to {quarters[1]:+.1%} | {least - 1:+.1%}"
        memory = f"{peaks[0]:.1f} | {peaks[1]:.1f} | {peaks[1] / peaks[0]:.3f}"
        warm = f"{short[1] - short[0]:.2f}"
        found.append(
            f"| {fusion.name} | {kind.__name__} | {numbers} | {spread} | {warm} | {memory} |"
        )
    return found


def conversion(fusion: Fusion) -> str:
    """Seconds that `convert` takes, and the bytes of parameters before and after."""
    net = torchvision.models.resnet50()
    taken = []
    for _ in range(5):
        begin = time.perf_counter()
        lifted = thirdaxis.convert(net, fusion)
        taken.append(time.perf_counter() - begin)
    size, after = (
        sum(p.numel() * p.element_size() for p in m.parameters()) / 2**20 for m in (net, lifted)
    )
    return (
        f"`convert` with {fusion.name}: {min(taken):.2f} s at best of 5, {max(taken):.2f} s at "
        f"worst; parameters {size:.1f} MiB before, {after:.1f} MiB after."
    )


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    torch.manual_seed(0)
    busy = os.getloadavg()[0]
    table = [row for fusion in FUSIONS for row in rows(fusion, told.repeats)]
    lines = [
        f"{tables.versions('torch', 'torchvision')}, CPU, "
        f"{tables.threads_and_load(told.threads, busy)}",
        "",
        f"ResNet-50 at {' x '.join(map(str, SIZE))}: `convert` against 3D modules written by hand, "
        f"equal outputs and gradients. Times in ms of {told.repeats} turns: the median by hand, "
        "the median of what each turn took more when converted, its quartiles, the ratio of the "
        f"minima; *warm* is what is added at {' x '.join(map(str, SMALL))}, where caches hold all; "
        "peaks in MiB beyond what was alive before.",
        "",
        "| fusion | pass | by hand | added | share | quartiles | of the minima | warm | "
        "peak by hand | peak converted | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *table,
        "",
        *(conversion(fusion) + "\n" for fusion in FUSIONS),
    ]
    tables.leave("carrier", "Cost of the carrier", lines)


if __name__ == "__main__":
    main()
