"""How long each operator takes, and how much memory, against `conv2d` on the same slices.

`conv2d` on the slices that are left after the depth stride, as one batch, is the least that a
convolution of the same channels can cost; a K x K x K `conv3d` is what an operator is to save. All
of them run on the shapes of ResNet-18's layers, in turns within one process, whose order changes.
A cell is the median of the ratios of single turns: to `conv2d`, then to `conv3d`. Peaks are of what
torch allocates beyond what was alive before; buffers inside oneDNN are not among it.

With one thread, times are the process's own, which other work on the machine lengthens little.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/operators.py --threads 1 2 --repeats 21
    python benchmarks/operators.py --device cuda --batch 4 --volume 64 224 224
"""

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import tables
import torch
import torch.nn.functional as F
from carrier import peak
from torch import nn

import thirdaxis
from thirdaxis.axes import Geometry
from thirdaxis.convert.rules_conv import chosen
from thirdaxis.fusion.depth import convolve_slices, convolve_volume

FLOOR, DENSE = "conv2d", "conv3d"
Step = Callable[[], object]


@dataclass(frozen=True)
class Layer:
    """A convolution of ResNet-18 and the volume that it takes in.

    Attributes:
        into: channels of its input.
        out: channels of its output.
        kernel: side of its kernel.
        stride: its stride in the plane.
        depth_stride: its stride along depth.
        size: slices, height and width of its input.
    """

    into: int
    out: int
    kernel: int
    stride: int
    depth_stride: int
    size: tuple[int, int, int]

    def __str__(self) -> str:
        step = f" /{self.stride}" if self.stride > 1 else ""
        return f"{self.into}→{self.out}{step} at {'×'.join(map(str, self.size))}"


def layers(volume: tuple[int, int, int], depth_stride: bool) -> list[Layer]:
    """The distinct spatial convolutions of ResNet-18 for a volume, from the stem on."""

    def halved(size: tuple[int, int, int]) -> tuple[int, int, int]:
        depth, height, width = size
        return (-(-depth // 2) if depth_stride else depth, -(-height // 2), -(-width // 2))

    step = 2 if depth_stride else 1
    found = [Layer(3, 64, 7, 2, step, volume)]
    size = halved(halved(volume))
    found.append(Layer(64, 64, 3, 1, 1, size))
    for into in (64, 128, 256):
        found.append(Layer(into, 2 * into, 3, 2, step, size))
        size = halved(size)
        found.append(Layer(2 * into, 2 * into, 3, 1, 1, size))
    return found


def operators() -> dict[str, Callable[[int], thirdaxis.Fusion]]:
    """Every operator on single convolutions, for so many slices; and ACS with half of it axial."""
    kinds = {name: kind for name, kind in thirdaxis.FUSIONS.items() if not kind.keeps_depth}
    found = {name: (lambda depth, kind=kind: kind()) for name, kind in kinds.items()}
    found["a3d"] = lambda depth: thirdaxis.A3D(depth=depth)
    found["acs 2:1:1"] = lambda depth: thirdaxis.ACS(split=(2, 1, 1))
    return found


def calls(layer: Layer, batch: int, device: str) -> dict[str, tuple[Callable, list[torch.Tensor]]]:
    """What to time: functions of the tensors that get gradients, and these tensors."""
    x = torch.randn(batch, layer.into, *layer.size, device=device)
    half, step = layer.kernel // 2, layer.depth_stride
    strides = (step, layer.stride, layer.stride)
    conv = nn.Conv2d(layer.into, layer.out, layer.kernel, layer.stride, half, bias=False).to(device)
    slices = x[:, :, ::step].transpose(1, 2).flatten(0, 1).contiguous()
    dense = torch.randn(layer.out, layer.into, *[layer.kernel] * 3, device=device)
    found = {
        FLOOR: (lambda x, w: F.conv2d(x, w, None, layer.stride, half), [slices, conv.weight]),
        DENSE: (lambda x, w: F.conv3d(x, w, None, strides, half), [x, dense]),
    }
    geometry = Geometry(
        conv.kernel_size,
        conv.stride,
        conv.padding,
        depth_stride=step,
        thickness=torch.full((batch,), 5.0, device=device),
    )
    for name, settings in operators().items():
        fusion = settings(layer.size[0])
        lifted = thirdaxis.convert(conv, fusion, depth_stride=step > 1)
        acting = getattr(lifted, "fusion", fusion)
        run = chosen(
            lifted.weight, geometry, acting, convolve_volume, convolve_slices, acting.convolve
        )

        def call(x, *parameters, run=run, lifted=lifted):
            return run(x, lifted.weight, None, geometry)

        found[name] = (call, [x, *lifted.parameters()])
    return found


def forward(call: Callable, tensors: list[torch.Tensor]) -> Step:
    """A forward pass without gradients."""

    def step() -> None:
        with torch.no_grad():
            call(*tensors)

    return step


def both(call: Callable, tensors: list[torch.Tensor]) -> Step:
    """Forward and backward, to the input and to every parameter."""
    leaves = [t if t.requires_grad else t.detach().requires_grad_() for t in tensors]
    with torch.no_grad():
        towards = torch.ones_like(call(*leaves))

    def step() -> None:
        torch.autograd.grad(call(*leaves), leaves, towards)

    return step


def milliseconds(step: Step, device: str) -> float:
    """Time of one call."""
    if device != "cpu":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        step()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    step()
    return 1000 * (clock() - begin)


def most_memory(step: Step, device: str) -> int:
    """Bytes allocated in a call, beyond those before it."""
    if device == "cpu":
        return peak(step)
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def in_turns(steps: dict[str, Step], repeats: int, device: str) -> dict[str, list[float]]:
    """Milliseconds of every step, taken in turns, in changing order."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for repeat in range(repeats):
        for name in list(steps) if repeat % 2 else reversed(steps):
            taken[name].append(milliseconds(steps[name], device))
    return taken


def ratio(taken: dict[str, list[float]], name: str, other: str) -> float:
    """Median ratio of the turns of one to those of another."""
    return statistics.median(a / b for a, b in zip(taken[name], taken[other], strict=True))


def section(title: str, chosen_layers: list[Layer], told: argparse.Namespace) -> list[str]:
    """Three tables: forward, forward and backward, peaks."""
    names = list(operators())
    rows: dict[str, list[str]] = {"forward": [], "forward and backward": [], "peak": []}
    within = []
    for layer in chosen_layers:
        todo = calls(layer, told.batch, told.device)
        for kind, make in (("forward", forward), ("forward and backward", both)):
            steps = {name: make(*call) for name, call in todo.items()}
            taken = in_turns(steps, told.repeats, told.device)
            cells = [
                f"{ratio(taken, name, FLOOR):.2f} / {ratio(taken, name, DENSE):.2f}"
                for name in names
            ]
            floor, dense = min(taken[FLOOR]), ratio(taken, DENSE, FLOOR)
            head = f"| {layer} | {floor:.2f} | {dense:.2f} | "
            rows[kind].append(head + " | ".join(cells) + " |")
            if layer.into >= 64:
                within.append((kind, ratio(taken, "acs", FLOOR), ratio(taken, "acs", DENSE)))
        peaks = {name: most_memory(step, told.device) for name, step in steps.items()}
        cells = [f"{peaks[n] / peaks[FLOOR]:.2f} / {peaks[n] / peaks[DENSE]:.2f}" for n in names]
        head = f"| {layer} | {peaks[FLOOR] / 2**20:.2f} | {peaks[DENSE] / peaks[FLOOR]:.2f} | "
        rows["peak"].append(head + " | ".join(cells) + " |")
    lines = []
    for kind, table in rows.items():
        unit = "MiB, forward and backward" if kind == "peak" else "ms"
        head = f"| layer | conv2d, {unit} | conv3d | {' | '.join(names)} |"
        lines += [f"### {title}: {kind}", "", head, "|---" * (3 + len(names)) + "|", *table, ""]
    for kind in ("forward", "forward and backward"):
        ours = [(flat, dense) for k, flat, dense in within if k == kind]
        lines.append(
            f"`acs`, {kind}, 64 input channels and more: below 1.35 of `conv2d` in "
            f"{sum(flat < 1.35 for flat, _ in ours)} of {len(ours)} layers, at worst "
            f"{max(flat for flat, _ in ours):.2f}; below 0.5 of `conv3d` in "
            f"{sum(dense < 0.5 for _, dense in ours)}, at worst "
            f"{max(dense for _, dense in ours):.2f}.\n"
        )
    return lines


def main() -> None:
    """Measures and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--volume", type=int, nargs=3, default=[32, 112, 112])
    parser.add_argument("--kept", type=int, default=16, help="slices where depth is not strided")
    told = parser.parse_args()
    torch.manual_seed(0)
    busy = os.getloadavg()[0]
    depth, height, width = told.volume
    lines = []
    for threads in told.threads if told.device == "cpu" else [torch.get_num_threads()]:
        torch.set_num_threads(threads)
        where = f"{threads} thread{'s' * (threads > 1)}" if told.device == "cpu" else "GPU"
        strided = layers((depth, height, width), depth_stride=True)
        kept = layers((told.kept, height, width), depth_stride=False)
        lines += section(f"{where}, depth strided with the plane", strided, told)
        lines += section(f"{where}, {told.kept} slices kept", kept, told)
    device = "CPU" if told.device == "cpu" else torch.cuda.get_device_name()
    about = " ".join(__doc__.split("\n\n")[1].split())
    count = " and ".join(map(str, told.threads))
    head = [
        f"{tables.versions('torch')}, {device}, {tables.threads_and_load(count, busy)}",
        "",
        f"{about} `acs 2:1:1` is `ACS(split=(2, 1, 1))`, half of the channels axial. Batch "
        f"{told.batch}, float32, {told.repeats} turns.",
        "",
    ]
    tables.leave("operators", "Time and memory of the operators", [*head, *lines])


if __name__ == "__main__":
    main()
