"""What the lesion detector costs: parameters and multiply-accumulates of its parts, and its steps.

Parts are counted on the meta device, where nothing is computed, for one sample of 1 x D x S x S.
With ``--device`` a training step (autocast to bfloat16, SGD with momentum) and the detection of
images are run on random pixels with two lesions an image, and timed. What suppression and matching
take depends on what is found, so on random weights it is only about right.

    python benchmarks/detector.py
    python benchmarks/detector.py --device cuda
    python benchmarks/detector.py --device cpu --side 64 --depths 3 --batch 1 --steps 1
"""

import argparse
import math
import os
import platform
import time
from dataclasses import dataclass

import cost
import tables
import torch
from torch.utils.flop_counter import FlopCounterMode

import thirdaxis
from thirdaxis.nets.lesion.backbone import encoder_named
from thirdaxis.nets.lesion.detector import LesionDetector, make_detector
from thirdaxis.nets.lesion.settings import DetectorSettings

# Of the networks of the papers, "Asymmetric 3D Context Fusion for Universal Lesion Detection",
# table 1, which calls multiply-accumulates of the backbone GFLOPs.
PUBLISHED = {3: 40.64, 7: 94.83}
BACKBONES = ("densenet121", "torchvision:resnet50", "torchvision:mobilenet_v2")
WARM = 3


@dataclass(frozen=True)
class Parts:
    """Parameters in M and multiply-accumulates in G of a detector's parts, for one sample.

    Attributes:
        parameters: by part.
        macs: by part; of the box head for all proposals of an image, of the mask head for all
            detections.
        as_printed: the backbone's with what norms, ReLUs and pools do, as the paper counts.
    """

    parameters: dict[str, float]
    macs: dict[str, float]
    as_printed: float


def parts(settings: DetectorSettings, side: int) -> Parts:
    """Counts the parts of a detector on the meta device.

    Args:
        settings: of the detector.
        side: of its images.
    """
    with torch.device("meta"):
        net = make_detector(settings).eval()
        encoder, _ = encoder_named(settings.backbone)
        picture = torch.empty(1, 3, side, side)
        images = torch.empty(1, 1, settings.depth, side, side)
        boxes = torch.empty(settings.proposals_after[1], settings.width, 7, 7)
        masks = torch.empty(settings.most, settings.width, 14, 14)
    heads = net.heads
    levels = net.levels(images)
    pictures = [reduce(level) for reduce, level in zip(net.reductions, levels, strict=True)]
    maps = net.pyramid(pictures)
    runs = {
        "reductions": lambda: [r(level) for r, level in zip(net.reductions, levels, strict=True)],
        "pyramid": lambda: net.pyramid(pictures),
        "proposals": lambda: net.proposals.head([maps]),
        "box head": lambda: heads.box_predictor(heads.box_head(boxes)),
        "mask head": lambda: heads.mask_predictor(heads.mask_head(masks)),
    }
    modules = {
        "backbone": [net.backbone],
        "reductions": [net.reductions],
        "pyramid": [net.pyramid],
        "proposals": [net.proposals],
        "box head": [heads.box_head, heads.box_predictor],
        "mask head": [heads.mask_head, heads.mask_predictor],
    }
    rest, _ = cost.outside_convolutions(encoder.eval(), picture)
    convolutions = thirdaxis.report(net.backbone.net, tuple(images.shape)).macs
    macs = {"backbone": convolutions / 1e9}
    for name, run in runs.items():
        with FlopCounterMode(display=False) as counter:
            run()
        macs[name] = counter.get_total_flops() / 2e9
    parameters = {
        name: sum(p.numel() for m in given for p in m.parameters()) / 1e6
        for name, given in modules.items()
    }
    return Parts(parameters, macs, (convolutions + settings.depth * rest) / 1e9)


def counted(depths: list[int], side: int) -> list[str]:
    """The table of parts."""
    lines = [
        f"One sample of 1 x D x {side} x {side}, `acs`, depth kept. Parameters in M, "
        "multiply-accumulates (MACs) in G: of the box head for 300 proposals, of the mask head for "
        "50 detections. *As printed*: the backbone's convolutions, two for each value of a batch "
        "norm, one for each of a ReLU and for each that a pool takes in. Published: table 1 of "
        '"Asymmetric 3D Context Fusion for Universal Lesion Detection".',
        "",
    ]
    for row, backbone in enumerate(BACKBONES):
        for depth in depths:
            told = parts(DetectorSettings(backbone, "acs", depth=depth), side)
            if row == 0 and depth == depths[0]:
                names = " | ".join(told.parameters)
                lines += [
                    f"| backbone | slices | of | {names} | whole | as printed | published |",
                    "|---" * (len(told.parameters) + 6) + "|",
                ]
            known = PUBLISHED.get(depth) if row == 0 and side == cost.SIDE else None
            beside = f"{told.as_printed:.2f} | {known or '-'}"
            numbers = [*told.parameters.values(), sum(told.parameters.values())]
            start = f"| {backbone} | {depth}"
            lines.append(f"{start} | parameters, M | {_row(numbers)} | - | - |")
            numbers = [*told.macs.values(), sum(told.macs.values())]
            lines.append(f"{start} | MACs, G | {_row(numbers)} | {beside} |")
    return lines


def _row(numbers: list[float]) -> str:
    return " | ".join(f"{number:.2f}" for number in numbers)


def batch_of(count: int, depth: int, side: int, device: str) -> tuple[torch.Tensor, list]:
    """Random images with two lesions each, of a third and a sixth of the side."""
    images = 255 * torch.rand(count, 1, depth, side, side, device=device) - 50
    third, sixth = side / 3, side / 6
    boxes = torch.tensor(
        [[8.0, 8, 8 + third, 8 + third], [side - sixth - 4] * 2 + [side - 4.0] * 2]
    )
    masks = torch.zeros(2, side, side, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1 : y2 + 1, x1 : x2 + 1] = 1
    target = {"boxes": boxes, "labels": torch.ones(2, dtype=torch.int64), "masks": masks}
    return images, [{key: value.to(device) for key, value in target.items()}] * count


def timed(
    net: LesionDetector, images: torch.Tensor, targets: list, steps: int
) -> tuple[float, float, float]:
    """Seconds of a training step, the memory it takes at most (GiB), seconds of a detection."""
    device = images.device.type
    optimiser = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)
    thickness = torch.full((len(images),), 2.0, device=device)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            loss = sum(net(images, thickness, targets).values())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 35.0)
        optimiser.step()

    def detect() -> None:
        with torch.no_grad(), torch.autocast(device, torch.bfloat16):
            net(images, thickness)

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    train = _seconds(step, steps, device)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else math.nan
    net.eval()
    return train, memory, _seconds(detect, steps, device)


def _seconds(run, steps: int, device: str) -> float:
    for _ in range(WARM if device == "cuda" else 0):
        run()
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(steps):
        run()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / steps


def steps_table(told: argparse.Namespace) -> list[str]:
    """The table of steps."""
    name = torch.cuda.get_device_name() if told.device == "cuda" else platform.machine()
    lines = [
        "",
        f"Steps on {name}, {torch.get_num_threads()} threads: batch {told.batch} of "
        f"1 x D x {told.side} x {told.side}, DenseNet-121 and mask head, autocast to bfloat16, "
        f"mean of {told.steps} steps. Training: forward, backward, clipping, SGD. Memory: the most "
        "that torch had allocated.",
        "",
        "| operator | slices | training step, s | images/s | memory, GiB | detection, s | "
        "images/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for fusion in told.fusions:
        for depth in told.depths:
            torch.manual_seed(0)
            settings = DetectorSettings(fusion=fusion, depth=depth)
            net = make_detector(settings).to(told.device).train()
            images, targets = batch_of(told.batch, depth, told.side, told.device)
            train, memory, found = timed(net, images, targets, told.steps)
            held = "-" if math.isnan(memory) else f"{memory:.2f}"
            numbers = f"{train:.3f} | {told.batch / train:.2f} | {held}"
            later = f"{found:.3f} | {told.batch / found:.2f}"
            lines.append(f"| `{fusion}` | {depth} | {numbers} | {later} |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Counts, runs steps where a device is named, and writes the tables."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--device", choices=("cpu", "cuda"), help="run and time steps there")
    asked.add_argument("--side", type=int, default=cost.SIDE)
    asked.add_argument("--depths", type=int, nargs="+", default=[3, 7, 9])
    asked.add_argument("--fusions", nargs="+", default=["slicewise", "acs", "alignshift", "a3d"])
    asked.add_argument("--batch", type=int, default=2)
    asked.add_argument("--steps", type=int, default=10)
    told = asked.parse_args()
    busy = os.getloadavg()[0]
    lines = [f"{tables.versions('torch', 'torchvision')}.", "", *counted(told.depths, told.side)]
    if told.device:
        lines += steps_table(told)
        lines += ["", tables.threads_and_load(torch.get_num_threads(), busy)]
    suffix = "" if told.device is None else f"-{told.device}"
    tables.leave(f"detector{suffix}", "The lesion detector", lines, script="detector")


if __name__ == "__main__":
    main()
