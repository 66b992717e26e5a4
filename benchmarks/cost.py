"""What each operator costs on the truncated DenseNet-121: parameters and multiply-accumulates.

Every operator sits in both convolutions of every dense layer, as far as it takes 1 x 1 kernels, and
neither in the stem nor in the transitions: the 3D backbone of Yang et al., "Asymmetric 3D Context
Fusion for Universal Lesion Detection", MICCAI 2021, whose table 1 stands beside. Shapes are run on
the meta device, so nothing is computed.

Its GFLOPs are multiply-accumulates of the convolutions, and besides two operations for each value
that a batch norm gives, one for each that a ReLU gives or a pool takes in. What mixes slices
without being a layer, as A3D does, its count passes over; here it has a column of its own. P3D in
that paper costs as much as one more norm and ReLU on the 128 channels of every dense layer would;
ours has neither.

    python benchmarks/cost.py
"""

import argparse
import math
import time
from dataclasses import dataclass

import tables
import torch
from torch import nn

import thirdaxis
from thirdaxis.nets.densenet import TruncatedDenseNet121

SIDE = 512
DEPTHS = (3, 7)
# Table 1 of the paper, GFLOPs at 3 and 7 slices; TSM and AlignShift are its "Shift".
PUBLISHED = {
    "slicewise": (40.64, 94.83),
    "i3d": (78.69, 183.61),
    "p3d": (67.79, 158.18),
    "acs": (40.64, 94.83),
    "tsm": (40.64, 94.83),
    "alignshift": (40.64, 94.83),
    "a3d": (40.64, 94.83),
}


@dataclass(frozen=True)
class Cost:
    """What the backbone costs under an operator, for one volume.

    Attributes:
        fusion: the operator's name.
        depth: slices.
        parameters: all of them.
        convolutions: their multiply-accumulates.
        mixing: those of slices mixed by what is no convolution.
        rest: operations of norms, ReLUs and pools.
    """

    fusion: str
    depth: int
    parameters: int
    convolutions: int
    mixing: int
    rest: int

    @property
    def counted(self) -> float:
        """What the paper's table counts, in G."""
        return (self.convolutions + self.rest) / 1e9

    @property
    def published(self) -> float | None:
        """What the paper's table says, in G, if it has the operator."""
        row = PUBLISHED.get(self.fusion)
        return None if row is None else row[DEPTHS.index(self.depth)]


def outside_convolutions(net: nn.Module, picture: torch.Tensor) -> tuple[int, dict[str, int]]:
    """Operations of norms, ReLUs and pools for a picture, and pixels that each layer takes in."""
    names = {module: name for name, module in net.named_modules()}
    operations, pixels = [], {}

    def note(module: nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> None:
        pixels[names[module]] = math.prod(args[0].shape[-2:])
        if isinstance(module, nn.BatchNorm2d):
            operations.append(2 * output.numel())
        elif isinstance(module, nn.ReLU):
            operations.append(output.numel())
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            operations.append(args[0].numel())

    hooks = [m.register_forward_hook(note) for m in net.modules() if not list(m.children())]
    net(picture)
    for hook in hooks:
        hook.remove()
    return sum(operations), pixels


def mixing(net: nn.Module, pixels: dict[str, int]) -> int:
    """Multiply-accumulates of A3D: D x D for every channel and pixel of its layer's input."""
    mixes = {n: m.mix for n, m in net.named_modules() if hasattr(m, "mix")}
    return sum(mix.numel() * pixels[n.removesuffix(".fusion")] for n, mix in mixes.items())


def costs() -> list[Cost]:
    """The cost of every operator on single convolutions, for volumes of each number of slices."""
    with torch.device("meta"):
        net = TruncatedDenseNet121().eval()
        picture = torch.empty(1, 3, SIDE, SIDE)
    rest, pixels = outside_convolutions(net, picture)
    found = []
    for name in [name for name, kind in thirdaxis.FUSIONS.items() if not kind.keeps_depth]:
        for depth in DEPTHS:
            fusion = thirdaxis.A3D(depth=depth) if name == "a3d" else name
            deep = thirdaxis.convert(
                net,
                "slicewise",
                depth_stride=False,
                in_channels=1,
                stem="green",
                overrides={"@dense_layers": fusion},
            )
            told = thirdaxis.report(deep, (1, 1, depth, SIDE, SIDE))
            mixed = mixing(deep, pixels)
            cost = Cost(name, depth, told.parameters, told.macs - mixed, mixed, depth * rest)
            found.append(cost)
    return found


def row(cost: Cost, flat: int) -> str:
    """A line of the table."""
    g = 1e9
    numbers = f"{cost.convolutions / g:.2f} | {cost.mixing / g:.2f} | {cost.counted:.2f}"
    beside = "- | -"
    if cost.published is not None:
        beside = f"{cost.published:.2f} | {cost.counted / cost.published - 1:+.2%}"
    more = cost.parameters - flat
    name = f"`{cost.fusion}` | {cost.depth}"
    return f"| {name} | {cost.parameters:,} | {more:,} | {numbers} | {beside} |"


def main() -> None:
    """Counts and writes the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    begin = time.perf_counter()
    found = costs()
    seconds = time.perf_counter() - begin
    flat = next(c.parameters for c in found if c.fusion == "slicewise")
    lines = [
        f"{tables.versions('torch', 'torchvision')}, meta device, {seconds:.1f} s.",
        "",
        f"One volume of 1 x D x {SIDE} x {SIDE} through the truncated DenseNet-121, operators at "
        "`@dense_layers`, `slicewise` elsewhere, depth kept. G are 10^9 multiply-accumulates. "
        "*As the paper counts*: convolutions, two for each value of a batch norm, one for each of "
        "a ReLU and for each that a pool takes in; what mixes slices and is no layer is left out. "
        'Published: table 1 of "Asymmetric 3D Context Fusion for Universal Lesion Detection".',
        "",
        "| operator | slices | parameters | more than 2D | convolutions, G | mixing, G | "
        "as the paper counts, G | published, G | difference |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row(cost, flat) for cost in found),
    ]
    tables.leave("cost", "Cost of the operators", lines)


if __name__ == "__main__":
    main()
