"""Where operators act that tell covered lesions from vessels: small classifiers of crops.

A covered lesion of the phantoms shows in one slice what a vessel shows; only the comparison with
the slices beside it tells. The same ResNet-18 learns crops of three slices of 2 mm around lesions
and vessels, with one operator in its stem, which alone sees every pixel, and one in the rest.

    python benchmarks/covered.py --steps 300
    python benchmarks/covered.py --crops 560 --pairs tsm/tsm
"""

import argparse
import time

import numpy as np
import tables
import torch
import torch.nn.functional as F
import torchvision

import thirdaxis
from thirdaxis.data.phantoms.scene import scene
from thirdaxis.data.phantoms.sets import NOTES
from thirdaxis.data.phantoms.shapes import lens
from thirdaxis.metrics.auc import roc_auc

SIDE, HALF = 32, 16
PAIRS = [
    ("slicewise", "slicewise"),
    ("acs", "acs"),
    ("slicewise", "acs"),
    ("acs", "slicewise"),
    ("tsm", "tsm"),
    ("acs", "tsm"),
]


def crops(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops (count, 1, 3, 32, 32), half around vessels, half around lesions, and which is one."""
    random = np.random.default_rng(seed)
    found: dict[str, list[np.ndarray]] = {"vessel": [], "nodule": []}
    while min(map(len, found.values())) < count // 2:
        made = scene(random, 128, 2.0, lens, covered=1.0)
        middle = len(made.slices) // 2
        padded = np.pad(made.slices, ((0, 0), (HALF, HALF), (HALF, HALF)), mode="edge")
        for thing in made.things:
            x, y = np.rint(thing.recist.reshape(4, 2).mean(0)).astype(int)
            if len(found[thing.kind]) < count // 2:
                part = padded[middle - 1 : middle + 2, y : y + SIDE, x : x + SIDE]
                found[thing.kind].append(part.astype(np.float32))
    images = np.stack([*found["vessel"], *found["nodule"]])
    images = (images - images.mean()) / images.std()
    labels = torch.arange(count) >= count // 2
    return torch.from_numpy(images)[:, None], labels


def judged(stem: str, rest: str, train, test, told: argparse.Namespace, seed: int) -> float:
    """The AUC on the test crops of a network trained from a random start."""
    torch.manual_seed(seed)
    net = thirdaxis.convert(
        torchvision.models.resnet18(num_classes=1),
        rest,
        in_channels=1,
        depth_stride=False,
        overrides={"conv1": stem},
    )
    optimiser = torch.optim.AdamW(net.parameters(), told.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, told.rate, told.steps)
    images, labels = train
    for _ in range(told.steps):
        chosen = torch.randint(len(images), (32,))
        batch = images[chosen]
        if torch.rand(()) < 0.5:
            batch = batch.flip(2)
        batch = torch.rot90(batch, int(torch.randint(4, ())), (3, 4))
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(batch)[:, 0].float()
        loss = F.binary_cross_entropy_with_logits(logits, labels[chosen].float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    net.eval()
    with torch.no_grad():
        scores = torch.cat([net(part)[:, 0] for part in test[0].split(64)])
    return roc_auc(scores, test[1])


def main() -> None:
    """Trains every pair, and writes the table after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--crops", type=int, default=1200, help="to train on")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--pairs", default="", help="of stem and rest: acs/acs,tsm/tsm")
    told = parser.parse_args()
    train, test = crops(told.crops, 1), crops(400, 2)
    lines = [
        f"{tables.versions('torch', 'torchvision')}, {torch.get_num_threads()} threads, bfloat16.",
        "",
        f"**{NOTES['synthetic']}**",
        "",
        f"ResNet-18 from a random start, {told.steps} steps of 32 of {told.crops} crops of 3 "
        f"slices of {SIDE} pixels, depth kept; judged on 400 others, seeds {told.seeds}. Half are "
        "vessels, half covered lesions.",
        "",
        "| stem | rest | AUC | seconds a run |",
        "|---|---|---|---|",
    ]
    seeds = [int(word) for word in told.seeds.split(",")]
    pairs = [tuple(pair.split("/")) for pair in told.pairs.split(",") if pair] or PAIRS
    for stem, rest in pairs:
        began = time.process_time()
        areas = [judged(stem, rest, train, test, told, seed) for seed in seeds]
        seconds = (time.process_time() - began) / len(seeds)
        shown = ", ".join(f"{area:.3f}" for area in areas)
        lines.append(f"| {stem} | {rest} | {shown} | {seconds:.0f} |")
        name, title = f"covered-{told.crops}", "Where operators act on phantoms"
        tables.leave(name, title, lines, script="covered")


if __name__ == "__main__":
    main()
