"""The proof of concept: 2D shapes, then 3D shapes, by each row of a recipe.

Yang et al., "Reinventing 2D Convolutions for 3D Images", IEEE JBHI 2021, section IV-A.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import thirdaxis
from thirdaxis.data.shapes import CLASSES_2D, CLASSES_3D, Shapes2D, Shapes3D
from thirdaxis.errors import UsageError
from thirdaxis.metrics.auc import roc_auc
from thirdaxis.nets.unet import UNet
from thirdaxis.tasks.shapes.fit import (
    CPU,
    PRECISIONS,
    Items,
    Machine,
    State,
    fit,
    held,
    read_numbers,
    read_state,
)
from thirdaxis.tasks.shapes.quickstart import Say, batches
from thirdaxis.tasks.shapes.recipe import Recipe, Row
from thirdaxis.tasks.shapes.report import write_report

STATE_FILE, PRETRAINING = "state.pt", "pretraining"


def run(
    recipe: Recipe,
    out: Path,
    rows: Sequence[Row],
    seeds: Sequence[int] = (0,),
    machine: Machine = CPU,
    say: Say = print,
) -> Path:
    """Trains the rows in this order, each seed in turn, and writes the table after each of them.

    What `out` holds already is not done again: a row that was stopped goes on from its last epoch.

    Args:
        recipe: the experiment.
        out: an existing folder.
        rows: some of the recipe's rows.
        seeds: of starts and orders; the data stay the same.
        machine: what to train on, as :func:`pick_machine` gives it.
        say: told how it goes, line by line.

    Returns:
        The table's path.

    Raises:
        UsageError: `out` holds the run of another recipe.
    """
    volumes = volumes_of(recipe)
    for seed in seeds:
        net2d = None
        missing = [row for row in rows if not finished(recipe, row, out, seed)]
        if any(row.start == "pretrained" for row in missing):
            net2d = pretrain(recipe, out, seed, machine, say)
        for row in rows:
            say(f"{row.name}, seed {seed}: {row.fusion}, {row.start} start")
            if row in missing:
                train(recipe, row, volumes, net2d, out, seed, machine, say)
            else:
                say("  done before")
            write_report(recipe, states_in(recipe, out), out)
    return write_report(recipe, states_in(recipe, out), out)


def pick_machine(name: str, precision: str = "32") -> Machine:
    """The device of this name; `auto` is a graphics card where torch sees one.

    Args:
        name: `auto`, `cpu` or `cuda`.
        precision: `32` or `bf16`.

    Raises:
        UsageError: there is no such device or precision.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision takes {' or '.join(PRECISIONS)}, got {precision!r}")
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device takes auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: torch sees no graphics card here; take cpu")
    device = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    return Machine(device, precision)


def volumes_of(recipe: Recipe) -> tuple[Items, Items]:
    """Volumes to train and to test on, in memory."""
    train = Shapes3D(recipe.data.volumes, data_seed(recipe, 2))
    return held(train), held(Shapes3D(recipe.data.test_volumes, data_seed(recipe, 3)))


def data_seed(recipe: Recipe, use: int) -> int:
    """A seed for each of the four sets: 2D to train and to test on, 3D likewise."""
    return recipe.data.seed * 4 + use


def pretrain(recipe: Recipe, out: Path, seed: int, machine: Machine, say: Say) -> UNet:
    """The 2D U-Net of the best epoch, trained unless that is done."""
    torch.manual_seed(seed)
    net = UNet(1, len(CLASSES_2D))
    kaiming(net)
    path = _folder(out, seed, PRETRAINING) / STATE_FILE
    settings = pretraining_settings(recipe, seed)
    state = read_state(path, settings)
    if state is None or state["epoch"] < recipe.pretraining.epochs:
        say(f"seed {seed}: the 2D U-Net learns {recipe.data.images} images")
        images = held(Shapes2D(recipe.data.images, data_seed(recipe, 0)))
        test = held(Shapes2D(recipe.data.test_images, data_seed(recipe, 1)))
        state = fit(net, recipe.pretraining, images, test, path, settings, say, machine)
    net.load_state_dict(state["best"])
    return net.cpu()


def train(
    recipe: Recipe,
    row: Row,
    volumes: tuple[Items, Items],
    net2d: UNet | None,
    out: Path,
    seed: int,
    machine: Machine,
    say: Say,
) -> State:
    """Trains the network of a row on volumes."""
    path = _folder(out, seed, row.slug) / STATE_FILE
    settings = row_settings(recipe, row, seed)
    net3d = started(row, net2d, seed).to(machine.device)
    data, test = volumes

    def untrained(net: nn.Module) -> float:
        found = features_auc(net, test, recipe.training.test_batch)
        say(f"  features before training: mean AUC {found:.4f}")
        return found

    return fit(net3d, recipe.training, data, test, path, settings, say, machine, untrained)


def finished(recipe: Recipe, row: Row, out: Path, seed: int) -> bool:
    """Whether `out` holds all epochs of a row, or the numbers of all."""
    path = _folder(out, seed, row.slug) / STATE_FILE
    state = read_numbers(path, row_settings(recipe, row, seed))
    return state is not None and state["epoch"] == recipe.training.epochs


def started(row: Row, net2d: UNet | None, seed: int) -> nn.Module:
    """The 3D network of a row before it is trained.

    Args:
        row: says the operator and the start.
        net2d: the pretrained one, which all but the last layer comes from; None where the row
            starts at random.
        seed: of the random start.
    """
    torch.manual_seed(seed)
    net = UNet(1, len(CLASSES_3D))
    if row.start == "pretrained":
        assert net2d is not None
        known, own = net2d.state_dict(), net.state_dict()
        net.load_state_dict({n: (own if n.startswith("head.") else known)[n] for n in own})
    net3d = thirdaxis.convert(net, row.operator())
    if row.start == "kaiming":
        kaiming(net3d)
    return net3d


def kaiming(net: nn.Module) -> None:
    """He et al.'s uniform start by the number of inputs, for every convolution's kernel."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight)


@torch.no_grad()
def features_auc(net: nn.Module, test: Items, batch: int) -> float:
    """How well single features tell solids from background: the mean over channels of AUCs.

    The features are the decoder's 32 channels, resized to the volume; of a channel that is low on
    solids the AUC counts from the other side. As in the paper's notebook the first resize takes
    nearest neighbours here, other than in training, and the second one is linear.

    Args:
        net: a converted U-Net; its running statistics are used.
        test: volumes and labels, background last.
        batch: volumes at a time.
    """
    net.eval()
    device = next(net.parameters()).device
    parts: Any = net
    small, solid = [], []
    for image, labels in batches(test, batch):
        skip = parts.enc1(image.to(device))
        deep = F.interpolate(parts.enc2(skip), size=skip.shape[2:], mode="nearest")
        small.append(parts.dec1(torch.cat([skip, deep], 1)).cpu())
        solid.append(labels != len(CLASSES_3D) - 1)
    features, truth = torch.cat(small), torch.cat(solid)
    found = []
    for channel in features.unbind(1):
        full = F.interpolate(
            channel[:, None], size=truth.shape[1:], mode="trilinear", align_corners=False
        )
        area = roc_auc(full[:, 0], truth)
        found.append(max(area, 1 - area))
    return sum(found) / len(found)


def pretraining_settings(recipe: Recipe, seed: int) -> dict[str, Any]:
    """What tells one pretraining from another."""
    data = recipe.data.model_dump(mode="json", include={"seed", "images", "test_images"})
    return {"seed": seed, "data": data, "pretraining": recipe.pretraining.model_dump(mode="json")}


def row_settings(recipe: Recipe, row: Row, seed: int) -> dict[str, Any]:
    """What tells one run of a row from another."""
    told = recipe.data.model_dump(mode="json", include={"seed", "volumes", "test_volumes"})
    settings: dict[str, Any] = {"seed": seed, "data": {}}
    if row.start == "pretrained":
        settings = pretraining_settings(recipe, seed)
    settings["data"] |= told
    settings["training"] = recipe.training.model_dump(mode="json")
    return settings | row.model_dump(mode="json", include={"fusion", "settings", "start"})


def states_in(recipe: Recipe, out: Path) -> dict[str, list[State]]:
    """What `out` holds of each row, by its name: one state a seed."""
    found = {}
    for row in recipe.rows:
        paths = [folder / STATE_FILE for folder in sorted(out.glob(f"seed*/{row.slug}"))]
        found[row.name] = [state for path in paths if (state := read_numbers(path)) is not None]
    return found


def _folder(out: Path, seed: int, name: str) -> Path:
    folder = out / f"seed{seed}" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
