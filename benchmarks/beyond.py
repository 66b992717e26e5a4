"""What two settings beyond the papers are worth, on synthetic shapes: small networks, minutes.

`thickness`: solids cut into slabs of 8 slices of 1, 2, 3 or 6 mm, one network for all of them;
A3D as published, A3D that counts in millimetres, AlignShift, no fusion. `planes`: a network trained
on 2D shapes goes on with 3D ones as ACS, with its channels' planes in order, at random, by their
kernels, or learnt as soft ACS and hardened. Finished cells are kept, so that it can be stopped and
started again.

    python benchmarks/beyond.py --runs runs/ --seeds 3 --steps 300
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss
from torch import Tensor, nn
from torchvision.models import resnet18

import thirdaxis
from thirdaxis.data.shapes import CLASSES_2D, CLASSES_3D, Shapes2D, Shapes3D
from thirdaxis.fusion.channel_planes import ChannelPlanes
from thirdaxis.metrics.dice import GlobalDice
from thirdaxis.nets.unet import UNet

RESULTS = Path(__file__).parent / "results"
SLICES, THICKNESS = 8, (1, 2, 3, 6)  # slices of a slab; mm, of solids 48 mm deep
TRAINED, TESTED = 100, 60  # solids
TURNS = 5  # of timing
KERNEL = thirdaxis.ACS(assign="kernel")
LOGITS_FASTER = 20  # times the learning rate, so that soft ACS decides within a short training

Batch = tuple[Tensor, Tensor, Tensor]  # images, labels with one channel, thickness in mm


class Small(nn.Module):
    """A 2D U-Net of one level, as narrow as a core trains within minutes."""

    def __init__(self, classes: int, width: int = 24) -> None:
        super().__init__()
        self.high = nn.Sequential(*_conv(1, width), *_conv(width, width))
        self.low = nn.Sequential(nn.MaxPool2d(2), *_conv(width, width), *_conv(width, width))
        self.out = nn.Sequential(*_conv(2 * width, width), nn.Conv2d(width, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        high = self.high(x)
        low = F.interpolate(self.low(high), size=high.shape[-2:], mode="bilinear")
        return self.out(torch.cat([high, low], 1))


def _conv(into: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]


def fit(net: nn.Module, batches: Iterable[Batch], rate: float = 2e-3) -> nn.Module:
    """Trains with Adam, the rate falling to 0 as a cosine."""
    batches = list(batches)
    logits = [p for name, p in net.named_parameters() if name.endswith("logits")]
    others = [p for name, p in net.named_parameters() if not name.endswith("logits")]
    groups = [{"params": others}, {"params": logits, "lr": LOGITS_FASTER * rate}]
    adam = torch.optim.Adam(groups, rate)
    falls = torch.optim.lr_scheduler.CosineAnnealingLR(adam, len(batches))
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    for images, labels, mm in batches:
        adam.zero_grad()
        told = {"thickness": mm} if images.dim() == 5 else {}
        loss(net.train()(images, **told), labels).backward()
        adam.step()
        falls.step()
    return net


@torch.no_grad()
def score(net: nn.Module, batches: Iterable[Batch]) -> float:
    """Mean Dice of the five solids, over the voxels of all volumes, in percent."""
    dice = GlobalDice(range(len(CLASSES_3D) - 1))
    for images, labels, mm in batches:
        dice.update(net.eval()(images, thickness=mm).argmax(1), labels[:, 0])
    return 100 * statistics.mean(dice.compute().values())


def slabs(count: int, seed: int) -> dict[int, list[tuple[Tensor, Tensor]]]:
    """Solids at every thickness, voxels of 2 mm in the plane: means of image, middle labels."""
    found: dict[int, list[tuple[Tensor, Tensor]]] = {mm: [] for mm in THICKNESS}
    for image, labels in Shapes3D(count, seed):
        for mm, volumes in found.items():
            thick = F.avg_pool3d(image, (mm, 2, 2))
            volumes.append((thick, labels[None, mm // 2 :: mm, ::2, ::2]))
    return found


def slab_batches(seed: int, steps: int, size: int = 6) -> Iterable[Batch]:
    """Slabs of any thickness and place."""
    random, volumes = torch.Generator().manual_seed(seed), slabs(TRAINED, seed=0)

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=random))

    for _ in range(steps):
        images, labels, told = [], [], []
        for _ in range(size):
            mm = THICKNESS[draw(len(THICKNESS))]
            image, label = volumes[mm][draw(TRAINED)]
            first = draw(image.shape[1] - SLICES + 1)
            images.append(image[:, first : first + SLICES])
            labels.append(label[:, first : first + SLICES])
            told.append(float(mm))
        yield torch.stack(images), torch.stack(labels), torch.tensor(told)


def every_slab(mm: int) -> Iterable[Batch]:
    """All slabs of the test solids, cut side by side."""
    for image, label in slabs(TESTED, seed=1)[mm]:
        images, labels = image[0].unflatten(0, (-1, SLICES)), label[0].unflatten(0, (-1, SLICES))
        yield images[:, None], labels[:, None], torch.full((len(images),), float(mm))


AWARE: dict[str, thirdaxis.Fusion] = {
    "`slicewise`": thirdaxis.Slicewise(),
    "`AlignShift(reference=1)`": thirdaxis.AlignShift(reference=1.0),
    "`A3D(depth=8)`": thirdaxis.A3D(depth=SLICES),
    "`A3D(depth=8, reference=1)`": thirdaxis.A3D(depth=SLICES, reference=1.0),
    "`A3D(depth=8, reference=2)`": thirdaxis.A3D(depth=SLICES, reference=2.0),
}


def thickness(seed: int, steps: int) -> dict[str, dict[str, float]]:
    """Dice by thickness of one network for all of them, for each operator."""
    rows = {}
    for name, fusion in AWARE.items():
        torch.manual_seed(seed)
        net = thirdaxis.convert(Small(len(CLASSES_3D)), fusion, depth_stride=False)
        fit(net, slab_batches(seed, steps))
        rows[name] = {f"{mm} mm": score(net, every_slab(mm)) for mm in THICKNESS}
        rows[name]["mean"] = statistics.mean(rows[name].values())
    return rows


def halved(image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """A picture or volume with sides of half as many voxels."""
    pool = F.avg_pool2d if image.dim() == 3 else F.avg_pool3d
    return pool(image, 2), labels[(slice(None, None, 2),) * labels.dim()][None]


def batches(data: Any, seed: int, steps: int, size: int) -> Iterable[Batch]:
    """Batches of a data set, drawn at random."""
    random, items = torch.Generator().manual_seed(seed), [halved(*item) for item in data]
    for _ in range(steps):
        drawn = [items[i] for i in torch.randint(len(items), (size,), generator=random)]
        images, labels = (torch.stack(part) for part in zip(*drawn, strict=True))
        yield images, labels, torch.ones(size)


def at_random(net: nn.Module) -> nn.Module:
    """Shuffles the planes of each layer's channels."""
    for module in net.modules():
        if isinstance(module, ChannelPlanes):
            module.assign(module.planes[torch.randperm(len(module.planes))])
    return net


def planes(seed: int, steps: int) -> dict[str, dict[str, float]]:
    """Dice on 3D shapes after 2D ones, for each way to choose the planes; and how soft ones end."""
    torch.manual_seed(seed)
    flat = Small(len(CLASSES_2D))
    fit(flat, batches(Shapes2D(2000, seed), seed, 3 * steps, 32))
    flat.out[-1] = nn.Conv2d(24, len(CLASSES_3D), 1)
    tested = [(i[None], y[None], torch.ones(1)) for i, y in map(_halved, Shapes3D(TESTED, 1))]
    learned = thirdaxis.ACS(assign="learned")

    def trained(fusion: str | thirdaxis.Fusion, change: Callable = lambda net: net) -> nn.Module:
        torch.manual_seed(seed)
        net = change(thirdaxis.convert(flat, fusion))
        return fit(net, batches(Shapes3D(TRAINED, 0), seed, steps, 2))

    def as_in(other: nn.Module) -> Callable[[nn.Module], nn.Module]:
        kept = {k: v for k, v in other.state_dict().items() if k.endswith("fusion.planes")}

        def change(net: nn.Module) -> nn.Module:
            net.load_state_dict(net.state_dict() | kept)
            return net

        return change

    soft = trained("soft_acs")
    hard = thirdaxis.harden(soft)
    networks = {
        "`slicewise`": trained("slicewise"),
        "`acs`, in order": trained("acs"),
        "`acs`, at random": trained(learned, at_random),
        '`ACS(assign="kernel")`': trained(KERNEL),
        "`soft_acs` (3 times the cost)": soft,
        "`harden(soft_acs)`, as it is": hard,
        "planes of `harden`, trained from the 2D kernels": trained(learned, as_in(hard)),
    }
    largest = [p.detach().softmax(1).amax(1) for k, p in soft.named_parameters() if "logits" in k]
    counts = torch.cat([p.long() for k, p in hard.state_dict().items() if "fusion.planes" in k])
    rows = {name: {"Dice": score(net, tested)} for name, net in networks.items()}
    rows["(largest weight of soft ACS, mean, in %)"] = {
        "Dice": 100 * float(torch.cat(largest).mean())
    }
    shares = counts.bincount(minlength=3) / len(counts)
    rows["(of its channels axial after `harden`, in %)"] = {"Dice": 100 * float(shares[0])}
    return rows


def _halved(item: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return halved(*item)


def cost(seed: int, steps: int) -> dict[str, dict[str, float]]:
    """CPU time of the planes' operators, in percent of that of ACS in order, measured in turns."""
    torch.manual_seed(seed)
    rows = {}
    fusions = {"": "acs", '`ACS(assign="kernel")`': KERNEL, "`soft_acs`": "soft_acs"}
    for place, (flat, volume) in {
        "ResNet-18, 32 x 96 x 96": (resnet18(weights=None), torch.randn(1, 3, 32, 96, 96)),
        "U-Net, 32 x 32 x 32": (UNet(), torch.randn(1, 1, 32, 32, 32)),
    }.items():
        nets = {name: thirdaxis.convert(flat, fusion) for name, fusion in fusions.items()}
        forward = {name: [] for name in nets}
        training = {name: [] for name in nets}
        for name, net in list(nets.items()) * TURNS:
            begin = time.process_time()
            with torch.inference_mode():
                net.eval()(volume)
            forward[name].append(time.process_time() - begin)
            net.train()(volume).square().mean().backward()
            training[name].append(time.process_time() - begin - forward[name][-1])
        for name in list(nets)[1:]:
            rows[f"{name}, {place}"] = {
                what: 100 * statistics.median(times[name]) / statistics.median(times[""])
                for what, times in (("forward", forward), ("training step", training))
            }
    return rows


def cell(part: Callable[[int, int], Any], seed: int, told: argparse.Namespace) -> dict[str, Any]:
    """The numbers of one part and seed, computed unless they are there."""
    path = told.runs / f"{part.__name__}-{told.steps}-{seed}.json"
    if not path.exists():
        begin = time.process_time()
        rows = part(seed, told.steps)
        done = {"rows": rows, "seconds": time.process_time() - begin}
        path.write_text(json.dumps(done, indent=1), encoding="utf-8")
        print(path.name, json.dumps(done), flush=True)
    return json.loads(path.read_text(encoding="utf-8"))


def told_of(values: list[float]) -> str:
    """Mean and, over several seeds, standard deviation."""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def table(cells: list[dict[str, Any]], against: str = "") -> list[str]:
    """Lines of a table; its last column once more as differences within each seed."""
    rows = [done["rows"] for done in cells]
    columns = list(next(iter(rows[0].values())))
    heads = [*columns, f"against {against}"] if against else columns
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name in rows[0]:
        told = [told_of([row[name][column] for row in rows]) for column in columns]
        if against:
            last = columns[-1]
            gains = [row[name][last] - row[against][last] for row in rows]
            told.append("" if name == against or name.startswith("(") else told_of(gains))
        lines.append(f"| {name} | {' | '.join(told)} |")
    return lines


def main() -> None:
    """Trains what is missing and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    told = parser.parse_args()
    torch.set_num_threads(1)
    told.runs.mkdir(parents=True, exist_ok=True)
    found: dict[Callable, list[dict[str, Any]]] = {thickness: [], planes: []}
    for seed in range(told.seeds):
        for part, cells in found.items():
            cells.append(cell(part, seed, told))
    timed = cell(cost, 0, told)
    seconds = sum(done["seconds"] for cells in found.values() for done in cells)
    lines = [
        f"# Beyond the papers, {date.today()}",
        "",
        f"`{shlex.join(['python', 'benchmarks/beyond.py', *sys.argv[1:]])}`",
        "",
        f"Python {platform.python_version()}, torch {torch.__version__}; AMD EPYC, "
        f"{os.cpu_count()} cores, 24 GiB; 1 thread, {seconds / 60:.0f} minutes of it in all.",
        "",
        f"Mean Dice of five solids in percent, over the voxels of {TESTED} test volumes; mean ± "
        f"standard deviation over {told.seeds} seeds; {told.steps} steps of Adam, which is short. "
        "Rows of one seed share their data, their order and their first weights. A narrow network, "
        "synthetic solids: a sign, no proof.",
        "",
        "## One network for thin and thick slices",
        "",
        f"Slabs of {SLICES} slices, trained from scratch on all four thicknesses together.",
        "",
        *table(found[thickness], "`A3D(depth=8)`"),
        "",
        "## Planes of ACS, after training on 2D shapes",
        "",
        *table(found[planes], "`acs`, in order"),
        "",
        "CPU time of the process in percent of that of `acs` in order, beside other work:",
        "",
        *table([timed]),
        "",
    ]
    (RESULTS / f"{date.today()}-beyond.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
