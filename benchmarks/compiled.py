"""What `torch.compile` with inductor gains on converted networks, against the same run eagerly.

Each network is compiled to one graph, compared with eager mode, then timed in turns with it.

    python benchmarks/compiled.py --repeats 10 --threads 2
"""

import argparse
import os
import statistics
import time

import tables
import torch
import torchvision
from carrier import inference, times

import thirdaxis
from thirdaxis.nets.unet import UNet

NETWORKS = {
    "torchvision resnet50": torchvision.models.resnet50,
    "torchvision mobilenet_v3_large": torchvision.models.mobilenet_v3_large,
    "torchvision convnext_tiny": torchvision.models.convnext_tiny,
    "thirdaxis U-Net": lambda: UNet(3, 2),
}
SIZE = (1, 3, 16, 64, 64)


def row(name: str, repeats: int) -> str:
    """The line of one network."""
    net = thirdaxis.convert(NETWORKS[name]()).eval()
    compiled = torch.compile(net, fullgraph=True)
    volume = torch.randn(SIZE)
    begin = time.perf_counter()
    with torch.no_grad():
        answer = compiled(volume)
        seconds = time.perf_counter() - begin
        expected = net(volume)
    error = ((answer - expected).abs().max() / expected.abs().max()).item()
    slow, fast = times([inference(net, volume), inference(compiled, volume)], repeats)
    ratio = statistics.median(slow) / statistics.median(fast)
    return (
        f"| {name} | {statistics.median(slow):.0f} | {statistics.median(fast):.0f} | {ratio:.2f} | "
        f"{error:.0e} | {seconds:.0f} |"
    )


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    torch.manual_seed(0)
    busy = os.getloadavg()[0]
    table = [row(name, told.repeats) for name in NETWORKS]
    lines = [
        f"{tables.versions('torch')}, CPU, {tables.threads_and_load(told.threads, busy)}",
        "",
        f"Forward pass at {' x '.join(map(str, SIZE))}, ACS, inductor, one graph; medians of "
        f"{told.repeats} in turns; error: largest difference over the largest value.",
        "",
        "| network | eager, ms | compiled, ms | gain | error | seconds to compile |",
        "|---|---|---|---|---|---|",
        *table,
        "",
    ]
    tables.leave("compiled", "Compiled networks", lines)


if __name__ == "__main__":
    main()
