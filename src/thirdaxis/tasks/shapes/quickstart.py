"""The quick start: from 2D shapes to 3D shapes in minutes, pretrained against random start.

After the proof of concept of Yang et al., "Reinventing 2D Convolutions for 3D Images", 2021, cut
down to a laptop's size: a U-Net learns squares and circles, is converted whole, and learns cubes
and balls from a few volumes; the same network from a random start gets the same volumes in the same
order. (The paper's own task, five solids and a fresh last layer, needs a hundred volumes.)
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.swa_utils import update_bn
from torch.utils.data import Dataset

import thirdaxis
from thirdaxis.data.shapes import CubesAndBalls, Shapes2D
from thirdaxis.metrics.dice import GlobalDice
from thirdaxis.nets.unet import UNet

STARTS = ("pretrained", "random")
BACKGROUND = len(Shapes2D.classes) - 1
# In 2D above the paper's rate: it has thousands of steps to go, this has about a hundred.
LEARNING_RATE_2D, LEARNING_RATE_3D = 0.1, 1e-3
Say = Callable[[str], None]


@dataclass(frozen=True)
class Budget:
    """How much the quick start does; the defaults take about two minutes on two cores.

    Args:
        images: 2D images to pretrain on.
        epochs_2d: passes over them.
        batch_2d: images a step.
        test_images: 2D images to test on.
        volumes: 3D volumes to fine-tune on.
        epochs_3d: passes over them.
        batch_3d: volumes a step.
        test_volumes: 3D volumes to test on.
    """

    images: int = 512
    epochs_2d: int = 4
    batch_2d: int = 16
    test_images: int = 64
    volumes: int = 4
    epochs_3d: int = 6
    batch_3d: int = 1
    test_volumes: int = 6


@dataclass
class Outcome:
    """What the quick start found.

    Args:
        seed: of the data and of the random starts.
        budget: how much was done.
        dice_2d: mean foreground Dice of the 2D network on 2D test images, after each epoch.
        curves: start to mean foreground Dice on the 3D test volumes, before the first epoch and
            after each.
        any_solid: start to the Dice of both solids taken as one, likewise.
        per_class: start to class name to Dice at the end.
        example: a test volume's ``image`` ``(48, 48, 48)``, ``truth`` and, by start, the label
            maps predicted at the end.
        seconds: wall time.
    """

    seed: int
    budget: Budget
    dice_2d: list[float] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)
    any_solid: dict[str, list[float]] = field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    example: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0


def soft_dice_loss(logits: Tensor, labels: Tensor, smooth: float = 0.01) -> Tensor:
    """One minus the mean over all classes of the soft Dice of the batch as a whole.

    Classes absent from the batch are left out of the sum, while the divisor stays the number of
    classes, as in the paper's code.

    Args:
        logits: ``(N, classes, ...)``.
        labels: class indices ``(N, ...)``.
        smooth: added above and below.

    Returns:
        A number from 0 to 1.
    """
    classes = logits.shape[1]
    probabilities = logits.softmax(1)
    truth = nn.functional.one_hot(labels, classes).movedim(-1, 1)
    over = [i for i in range(logits.ndim) if i != 1]
    both = (probabilities * truth).sum(over)
    total = probabilities.sum(over) + truth.sum(over)
    dice = (2 * both + smooth) / (total + smooth)
    present = truth.sum(over) > 0
    return 1 - (dice * present).sum() / classes


def run(seed: int = 0, budget: Budget | None = None, say: Say = print) -> Outcome:
    """Pretrains in 2D, converts with ACS, fine-tunes in 3D from both starts, and tests.

    Args:
        seed: another seed is another experiment; the same one repeats the numbers.
        budget: how much to do.
        say: told how it goes, line by line.
    """
    began = time.monotonic()
    budget = budget or Budget()
    outcome = Outcome(seed, budget)
    say(f"1/3 the 2D U-Net learns {budget.images} images of squares and circles")
    net2d = pretrain(seed, budget, outcome, say)
    test = CubesAndBalls(budget.test_volumes, _stream(seed, 3))
    outcome.example = dict(zip(("image", "truth"), test[0], strict=True))
    outcome.example["image"] = outcome.example["image"][0]
    for step, start in enumerate(STARTS, 2):
        say(
            f"{step}/3 converted by ACS, {start} start: {budget.volumes} volumes of cubes and balls"
        )
        net3d = converted(net2d if start == "pretrained" else None, seed)
        finetune(net3d, start, seed, budget, outcome, say)
    outcome.seconds = time.monotonic() - began
    return outcome


def pretrain(seed: int, budget: Budget, outcome: Outcome, say: Say) -> UNet:
    """The 2D half of the proof of concept: SGD and a start by Kaiming's rule."""
    torch.manual_seed(seed)
    net = UNet(1, len(Shapes2D.classes))
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight)
    data = Shapes2D(budget.images, _stream(seed, 0))
    test = Shapes2D(budget.test_images, _stream(seed, 1))
    optimizer = SGD(net.parameters(), lr=LEARNING_RATE_2D, momentum=0.9, weight_decay=1e-4)
    for epoch in range(budget.epochs_2d):
        loss = train_epoch(net, optimizer, data, budget.batch_2d, _stream(seed, 10 + epoch))
        dice, _ = score(net, test, budget.batch_2d, BACKGROUND)
        outcome.dice_2d.append(mean(dice))
        say(f"    epoch {epoch + 1}: loss {loss:.3f}, Dice of new images {mean(dice):.3f}")
    return net


def converted(net2d: UNet | None, seed: int) -> nn.Module:
    """The U-Net in 3D, started from a 2D one.

    Args:
        net2d: knows squares and circles; None takes a random start.
        seed: of the random start.
    """
    torch.manual_seed(seed)
    return thirdaxis.convert(net2d or UNet(1, len(Shapes2D.classes)), "acs")


def finetune(
    net3d: nn.Module, start: str, seed: int, budget: Budget, outcome: Outcome, say: Say
) -> None:
    """The 3D half: Adam on a few volumes, tested before the first pass and after each."""
    data = CubesAndBalls(budget.volumes, _stream(seed, 2))
    test = CubesAndBalls(budget.test_volumes, _stream(seed, 3))
    optimizer = Adam(net3d.parameters(), lr=LEARNING_RATE_3D)
    curve = outcome.curves.setdefault(start, [])
    any_solid = outcome.any_solid.setdefault(start, [])
    for epoch in range(budget.epochs_3d + 1):
        if epoch:
            train_epoch(net3d, optimizer, data, budget.batch_3d, _stream(seed, 10 + epoch))
            # A few steps do not settle the running averages of batch norms; the data do.
            update_bn((image for image, _ in batches(data, budget.batch_3d)), net3d)
        dice, union = score(net3d, test, budget.batch_3d, BACKGROUND)
        curve.append(mean(dice))
        any_solid.append(union)
        when = f"epoch {epoch}" if epoch else "untrained"
        say(
            f"    {when}: Dice of new volumes {curve[-1]:.3f}, any solid against background "
            f"{union:.3f}"
        )
        outcome.per_class[start] = {CubesAndBalls.classes[k]: value for k, value in dice.items()}
    with torch.no_grad():
        outcome.example[start] = net3d.eval()(test[0][0][None])[0].argmax(0)


def train_epoch(
    net: nn.Module,
    optimizer: Optimizer,
    data: Dataset[tuple[Tensor, Tensor]],
    batch: int,
    seed: int,
) -> float:
    """One pass in an order of its own; returns the mean loss."""
    net.train()
    losses = []
    for image, labels in batches(data, batch, torch.Generator().manual_seed(seed)):
        loss = soft_dice_loss(net(image), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@torch.no_grad()
def score(
    net: nn.Module, data: Dataset[tuple[Tensor, Tensor]], batch: int, background: int
) -> tuple[dict[int, float], float]:
    """Dice over all items together.

    Args:
        net: gives class scores.
        data: items ``(image, labels)``.
        batch: items at a time.
        background: the last class, which is not scored.

    Returns:
        Dice of each class before the background, and of all of them taken as one.
    """
    net.eval()
    each, union = GlobalDice(range(background)), GlobalDice([1])
    for image, labels in batches(data, batch):
        predicted = net(image).argmax(1)
        each.update(predicted, labels)
        union.update((predicted != background).long(), (labels != background).long())
    return each.compute(), union.compute()[1]


def batches(
    data: Dataset[tuple[Tensor, Tensor]], batch: int, generator: torch.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of images and labels, in a random order where a generator is given."""
    count = len(data)  # type: ignore[arg-type]
    order = torch.randperm(count, generator=generator) if generator else torch.arange(count)
    for indices in order.split(batch):
        images, labels = zip(*(data[i] for i in indices.tolist()), strict=True)
        yield torch.stack(images), torch.stack(labels)


def mean(dice: dict[int, float]) -> float:
    """The mean over the classes that occur, in the truth or in the answer."""
    found = [value for value in dice.values() if not math.isnan(value)]
    return sum(found) / len(found) if found else math.nan


def _stream(seed: int, use: int) -> int:
    """A seed for each use of chance, apart for every seed of the whole."""
    return seed * 1000 + use
