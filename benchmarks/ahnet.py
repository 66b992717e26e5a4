"""AH-Net beside its table 2 and 3: parameters, convolutions, and the time for one volume.

Liu et al., "3D Anisotropic Hybrid Network", MICCAI 2018, timed a volume of 384 x 256 x 64 on a GTX
1080 Ti: 2D networks are given three neighbouring slices at a time, 3D networks the whole. Cutting
the slices out is not timed. Here MC-GCN is timed in batches of slices too, and converted, as
thirdaxis runs it. Of the U-Nets the paper prints the counts alone; `PlainUNet` meets both.

    python benchmarks/ahnet.py --threads 2
    python benchmarks/ahnet.py --device cuda --repeats 20
    python benchmarks/ahnet.py --volume 16 96 128 --repeats 1
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import tables
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import thirdaxis
from thirdaxis.convert.copies import copied
from thirdaxis.nets.ahnet import ahnet
from thirdaxis.nets.gcn import GCN
from thirdaxis.nets.resnet_maps import ResNetMaps

# Table 2: convolutions and parameters; table 3: milliseconds.
COUNTS = {
    "2D U-Net": (15, 28_254_528),
    "3D U-Net": (15, 5_298_768),
    "ResNet-50": (53, 23_507_904),
    "MC-GCN": (94, 23_576_758),
    "AH-Net": (123, 27_085_500),
}
TIMES = {"2D U-Net": 699.3, "3D U-Net": 2.3, "MC-GCN": 775.2, "AH-Net": 17.7}
CONVOLUTIONS = nn.Conv2d, nn.Conv3d
GTX_1080_TI = 5.67e12  # multiply-accumulates a second in 32 bits, at its boost clock
BATCH = 16


class PlainUNet(nn.Module):
    """The U-Net that has the paper's numbers, in 2D (64 channels first) and in 3D (16).

    Five levels, each with twice the channels of the one above: two 3 x 3 convolutions with bias,
    batch norm and ReLU on the way down, one on the way up, and norm, ReLU and a 1 x 1 convolution
    without bias at the end. Nothing says that it is the one that was run, but both counts are met.

    Args:
        dims: 2 or 3.
        channels: of the input.
        width: channels of the first level.
    """

    def __init__(self, dims: int, channels: int, width: int) -> None:
        super().__init__()
        kinds = {2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}
        self.conv, self.norm = kinds[dims]
        self.pool = {2: F.max_pool2d, 3: F.max_pool3d}[dims]
        self.mode = {2: "bilinear", 3: "trilinear"}[dims]
        widths = [width * 2**level for level in range(5)]
        self.down = nn.ModuleList(
            nn.Sequential(*self._step(a, b), *self._step(b, b))
            for a, b in zip([channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            nn.Sequential(*self._step(3 * width, width)) for width in reversed(widths[:-1])
        )
        head = self.conv(width, 1, 1, bias=False)
        self.head = nn.Sequential(self.norm(width), nn.ReLU(inplace=True), head)

    def _step(self, channels_in: int, channels_out: int) -> list[nn.Module]:
        conv = self.conv(channels_in, channels_out, 3, padding=1)
        return [conv, self.norm(channels_out), nn.ReLU(inplace=True)]

    def forward(self, x: Tensor) -> Tensor:
        """Scores at the resolution of the input."""
        skips = []
        for down in self.down:
            x = down(self.pool(x, 2, ceil_mode=True) if skips else x)
            skips.append(x)
        skips.pop()
        for up in self.up:
            skip = skips.pop()
            larger = F.interpolate(x, skip.shape[2:], mode=self.mode, align_corners=False)
            x = up(torch.cat([skip, larger], 1))
        return self.head(x)


@dataclass(frozen=True)
class Timed:
    """One way to run a network over a volume.

    Attributes:
        name: of the network, as in the tables of the paper.
        way: how the volume is given to it.
        net: the network.
        run: runs it, on what `cut` made of the volume.
        cut: untimed, from the volume (1, 1, D, H, W).
    """

    name: str
    way: str
    net: nn.Module
    run: Callable[[nn.Module, Tensor], object]
    cut: Callable[[Tensor], Tensor] = lambda volume: volume


def stacks(volume: Tensor) -> Tensor:
    """(D, 3, H, W): every slice between its neighbours, ends repeated."""
    slices = volume[0, 0]
    padded = torch.cat([slices[:1], slices, slices[-1:]])
    return padded.unfold(0, 3, 1).movedim(-1, 1).contiguous()


def one_by_one(net: nn.Module, pictures: Tensor) -> None:
    """Each stack of three slices by itself."""
    for picture in pictures:
        net(picture[None])


def in_batches(net: nn.Module, pictures: Tensor) -> None:
    """So many stacks at once."""
    for some in pictures.split(BATCH):
        net(some)


def whole(net: nn.Module, volume: Tensor) -> None:
    """The volume at once."""
    net(volume)


def networks() -> list[Timed]:
    """What is timed, in the order of the table."""
    gcn = GCN(1).eval()
    settings = {"in_channels": 1, "stem": "depth", "depth_stride": False}
    return [
        Timed("2D U-Net", "slice by slice", PlainUNet(2, 3, 64).eval(), one_by_one, stacks),
        Timed("3D U-Net", "whole", PlainUNet(3, 1, 16).eval(), whole),
        Timed("MC-GCN", "slice by slice", gcn, one_by_one, stacks),
        Timed("MC-GCN", f"{BATCH} slices at once", gcn, in_batches, stacks),
        Timed("MC-GCN", "whole, converted", thirdaxis.convert(gcn, "slicewise", **settings), whole),
        Timed("AH-Net", "whole", ahnet(1).eval(), whole),
    ]


def counted(net: nn.Module) -> tuple[int, int]:
    """Convolutions and parameters."""
    parameters = sum(weight.numel() for weight in net.parameters())
    return sum(isinstance(part, CONVOLUTIONS) for part in net.modules()), parameters


def macs(timed: Timed, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates for a volume, counted on the meta device."""
    net = copied(timed.net).to("meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        timed.run(net, timed.cut(torch.empty(shape, device="meta")))
    return counter.get_total_flops() // 2


def in_turns(every: list[Timed], volume: Tensor, repeats: int) -> list[list[float]]:
    """Seconds of each, `repeats` times after one turn that is not counted, in changing order."""
    ready = [(timed.run, timed.net.to(volume.device), timed.cut(volume)) for timed in every]
    taken: list[list[float]] = [[] for _ in every]
    with torch.no_grad():
        for turn in range(repeats + 1):
            order = range(len(every)) if turn % 2 else reversed(range(len(every)))
            for i in order:
                run, net, given = ready[i]
                wait(volume.device)
                begin = time.perf_counter()
                run(net, given)
                wait(volume.device)
                taken[i].append(time.perf_counter() - begin)
    return [some[1:] for some in taken]


def wait(device: torch.device) -> None:
    """Until a graphics card is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def count_rows() -> list[str]:
    """Convolutions and parameters, each beside table 2."""
    with torch.device("meta"):
        nets = {timed.name: timed.net for timed in networks()}
        nets["ResNet-50"] = ResNetMaps("resnet50")
    rows = []
    for name, (convolutions, parameters) in COUNTS.items():
        found = counted(nets[name])
        rows.append(
            f"| {name} | {found[0]} | {convolutions} | {found[1]:,} | {parameters:,} | "
            f"{found[1] - parameters:+,} |"
        )
    return rows


def time_rows(args: argparse.Namespace) -> list[str]:
    """Time and multiply-accumulates of every way, each beside table 3."""
    torch.manual_seed(0)
    every = networks()
    shape = (1, 1, *args.volume)
    cost = [macs(timed, shape) for timed in every]
    volume = torch.randn(shape).to(args.device)
    taken = in_turns(every, volume, args.repeats)
    rows = []
    for timed, times, mine in zip(every, taken, cost, strict=True):
        ratio = statistics.median(a / b for a, b in zip(times, taken[-1], strict=True))
        as_paper = timed.way in ("slice by slice", "whole")
        published = f"{TIMES[timed.name]}" if as_paper else "-"
        beside = f"{TIMES[timed.name] / TIMES['AH-Net']:.2f}" if as_paper else "-"
        rows.append(
            f"| {timed.name} | {timed.way} | {1000 * statistics.median(times):,.1f} | "
            f"{ratio:.2f} | {beside} | {mine / 1e9:,.1f} | {mine / cost[-1]:.2f} | "
            f"{1000 * mine / GTX_1080_TI:,.1f} | {published} |"
        )
    return rows


def main() -> None:
    """Counts, times, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--volume", type=int, nargs=3, default=(64, 256, 384), help="D H W")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--name", default="ahnet", help="of the table's file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    busy = os.getloadavg()[0]
    rows = time_rows(args)
    where = tables.threads_and_load(args.threads, busy)
    if args.device != "cpu":
        where = f"{torch.cuda.get_device_name()}. {where}"
    size = " x ".join(map(str, args.volume))
    lines = [
        f"{tables.versions('torch', 'torchvision')}, {args.device}; {where}",
        "",
        "Published: tables 2 and 3 of Liu et al., MICCAI 2018. Of its U-Nets it prints the counts "
        "alone; a plain one of five levels meets them, and is what ran here.",
        "",
        "| network | convolutions | published | parameters | published | difference |",
        "|---|---|---|---|---|---|",
        *count_rows(),
        "",
        f"One volume of D x H x W = {size}, one class, eval mode, random weights, 32 bits; median "
        f"of {args.repeats} turns, ratios turn by turn.",
        "",
        "| network | the volume goes in | ms | to AH-Net | published | MACs, G | to AH-Net | "
        "1080 Ti, least ms | published ms |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "*1080 Ti, least ms* is what the MACs take at the peak of the card that the paper used, "
        f"{GTX_1080_TI / 1e12} T a second, which no network reaches. What is published, for 384 x "
        "256 x 64 voxels, and lies below it is no time of the whole computation, unless "
        "Winograd's or Fourier's transforms spared most of it: it would be that of a call which "
        "has been queued and not yet computed.",
    ]
    tables.leave(args.name, "AH-Net: counts and time", lines, script="ahnet")


if __name__ == "__main__":
    main()
