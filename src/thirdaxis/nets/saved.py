"""Converted networks by recipe, and their folders: the weights and what rebuilds the network."""

import dataclasses
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from thirdaxis.atomic import write_folder
from thirdaxis.convert.lift import Conversion
from thirdaxis.errors import InputError, UsageError
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.table import FUSIONS, resolve
from thirdaxis.nets.build import Task, Weights
from thirdaxis.nets.volumes import make_volumetric
from thirdaxis.nets.weights import WeightsReport

RECIPE_FILE = "network.json"
WEIGHTS_FILE = "net.safetensors"


def make_recipe(
    name: str,
    *,
    classes: int,
    in_channels: int = 1,
    task: Task = "segment",
    fusion: str | Fusion = "acs",
    depth_stride: bool | None = None,
    stem: str = "sum",
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What is needed to build a converted network again, as plain words and numbers.

    Args:
        name: the 2D network, see `thirdaxis.nets.build.build`.
        classes: channels of its answer.
        in_channels: channels of the volume.
        task: ``segment`` or ``classify``.
        fusion: name or settings of the fusion operator.
        depth_stride: whether depth is reduced wherever height and width are; none leaves it to the
            network, see `thirdaxis.convert`.
        stem: how an RGB stem is adapted to other channels.
        overrides: module name pattern to fusion, or to ``{"fusion": ..., "depth_stride": ...}``.

    Raises:
        UsageError: an unknown fusion.
    """
    return {
        "name": name,
        "classes": classes,
        "in_channels": in_channels,
        "task": task,
        "fusion": _plain_fusion(fusion),
        "depth_stride": depth_stride,
        "stem": stem,
        "overrides": {key: _plain_override(value) for key, value in (overrides or {}).items()},
    }


def build_converted(
    recipe: Mapping[str, Any], weights: Weights = None
) -> tuple[nn.Module, WeightsReport | None]:
    """Builds the 2D network of a recipe, with its weights, and converts it.

    Args:
        recipe: see `make_recipe`.
        weights: 2D weights, as `thirdaxis.nets.build.build` takes them, or 3D ones.

    Returns:
        The network for volumes ``(N, in_channels, D, H, W)``, and what became of the weights.

    Raises:
        UsageError: an unknown network, fusion or setting.
        InputError: weights that cannot be read, fetched, or do not fit.
    """
    return make_volumetric(
        recipe["name"],
        fusion_of(recipe["fusion"]),
        weights,
        classes=recipe["classes"],
        channels=recipe["in_channels"],
        task=recipe["task"],
        depth_stride=recipe["depth_stride"],
        stem=recipe["stem"],
        overrides={key: _override(value) for key, value in recipe["overrides"].items()} or None,
    )


def save_converted(
    folder: Path, recipe: Mapping[str, Any], net3d: nn.Module, *, overwrite: bool = False
) -> None:
    """Writes a converted network as ``net.safetensors`` and ``network.json``.

    Nothing is left half-written: a new folder appears whole, files in an old one are replaced
    whole, and other files in it are left alone.

    Args:
        folder: made if missing; an old one must be empty or hold a converted network.
        recipe: see `make_recipe`.
        net3d: the network whose weights are kept.
        overwrite: write into a folder of other files too.

    Raises:
        UsageError: the folder holds other files.
        OSError: the disk is full or the place not writable.
    """
    folder = Path(folder)
    if not overwrite:
        check_free(folder, RECIPE_FILE, ", or allow to write there")
    done = getattr(net3d, "_thirdaxis", None)
    if recipe["depth_stride"] is None and isinstance(done, Conversion):
        recipe = {**recipe, "depth_stride": done.setting.depth_stride}
    contents = {
        WEIGHTS_FILE: weights_of(net3d),
        RECIPE_FILE: json.dumps({**recipe, "versions": _versions()}, indent=2).encode() + b"\n",
    }
    write_folder(folder, contents)


def check_free(folder: Path, sign: str, otherwise: str = "") -> None:
    """Refuses a folder that holds something else than what is about to be written there.

    Args:
        folder: missing, empty, or holding `sign`.
        sign: a file by which a folder of the kind to be written is known.
        otherwise: what else can be done, for the error message.

    Raises:
        UsageError: the folder is a file, or holds other files.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; expected a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / sign).is_file():
        raise UsageError(f"{folder} holds other files; choose another folder{otherwise}")


def load_recipe(folder: Path) -> dict[str, Any]:
    """The recipe of a folder that `save_converted` wrote.

    Raises:
        InputError: no such folder, or not one of these.
    """
    path = Path(folder) / RECIPE_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no converted network here ({RECIPE_FILE} is missing)")
    try:
        recipe = json.loads(path.read_text("utf-8"))
    except ValueError as e:
        raise InputError(f"{path}: not readable as JSON ({e})") from e
    wanted = make_recipe("", classes=1)
    missing = [key for key in wanted if not isinstance(recipe, dict) or key not in recipe]
    if missing:
        raise InputError(f"{path}: no recipe of a converted network; it lacks {', '.join(missing)}")
    return recipe


def load_converted(folder: Path) -> nn.Module:
    """Rebuilds a converted network from a folder that `save_converted` wrote, in evaluation mode.

    Nothing in the folder is executed; a network of the form ``package.module:factory`` is
    imported from the installed packages by that name.

    Args:
        folder: with ``net.safetensors`` and ``network.json``.

    Raises:
        InputError: a file is missing or corrupt, or the weights are not this network's.
        UsageError: the recipe names what this version does not know.
    """
    recipe = load_recipe(folder)
    path = Path(folder) / WEIGHTS_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no converted network here ({WEIGHTS_FILE} is missing)")
    try:
        tensors = safetensors.torch.load_file(path)
    except SafetensorError as e:
        raise InputError(f"{path}: not readable as safetensors ({e})") from e
    net3d, _ = build_converted(recipe)
    fill_exactly(net3d, tensors, f"{path}: not the weights of this {recipe['name']}")
    return net3d.eval()


def weights_of(net: nn.Module, header: Mapping[str, str] | None = None) -> bytes:
    """The weights and buffers of a network as the content of a safetensors file.

    Args:
        net: on any device.
        header: words that the file is to tell of itself.
    """
    state = net.state_dict().items()
    # Shared tensors are written twice, for safetensors refuses them.
    return safetensors.torch.save(
        {name: value.detach().cpu().contiguous().clone() for name, value in state},
        None if header is None else dict(header),
    )


def fill_exactly(net: nn.Module, tensors: Mapping[str, Tensor], otherwise: str) -> None:
    """Fills a network with tensors of exactly its names and shapes.

    Args:
        net: filled in place.
        tensors: name to tensor.
        otherwise: what to say when they are not those of the network.

    Raises:
        InputError: names or shapes differ.
    """
    try:
        net.load_state_dict(tensors)
    except RuntimeError as e:
        reason = str(e).strip().splitlines()[-1].strip()
        raise InputError(f"{otherwise} ({reason[:200]})") from e


def _versions() -> dict[str, str]:
    try:
        own = metadata.version("thirdaxis")
    except metadata.PackageNotFoundError:  # run from a source tree
        own = "unknown"
    return {"thirdaxis": own, "torch": str(torch.__version__)}


def _plain_fusion(fusion: str | Fusion) -> dict[str, Any]:
    settings = resolve(fusion)
    return {"name": settings.name, "settings": dataclasses.asdict(settings)}


def _plain_override(value: Any) -> dict[str, Any]:
    told = dict(value) if isinstance(value, Mapping) else {"fusion": value}
    return {key: _plain_fusion(v) if key == "fusion" else v for key, v in told.items()}


def fusion_of(plain: Mapping[str, Any]) -> Fusion:
    """The operator that a recipe tells by its ``name`` and ``settings``, lists for tuples.

    Raises:
        UsageError: there is no such operator, or it has no such settings.
    """
    default = resolve(plain["name"])
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in plain["settings"].items()}
    try:
        return FUSIONS[default.name](**settings)
    except TypeError as e:
        raise UsageError(f"fusion {default.name!r} has no such settings: {e}") from e


def _override(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {key: fusion_of(value) if key == "fusion" else value for key, value in plain.items()}
