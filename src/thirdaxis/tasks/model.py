"""A trained model as one thing: network, settings, plan, label names, where it comes from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thirdaxis.convert.lift import beside
from thirdaxis.errors import InputError, UsageError
from thirdaxis.export.onnx_net import OnnxNet
from thirdaxis.nets.programs import programs
from thirdaxis.nets.saved import fill_exactly, weights_of
from thirdaxis.tasks.hardware import pick_device
from thirdaxis.tasks.keep import BEST, LAST, read_checkpoint
from thirdaxis.tasks.kinds import KINDS, AnyPlan
from thirdaxis.tasks.pretraining.card import FILE as PRETRAINED
from thirdaxis.tasks.run_folder import SETTINGS, STAGES, read_run
from thirdaxis.tasks.settings import RunSettings
from thirdaxis.tasks.settings_files import make_settings
from thirdaxis.tasks.trained.card import card_of
from thirdaxis.tasks.trained.files import (
    CARD,
    CONFIG,
    FORMAT,
    FORMAT_VERSION,
    MODEL,
    WEIGHTS,
    config_of_text,
    read_model_files,
    sha256_of,
    write_model_files,
)
from thirdaxis.tasks.trained.hub import fetched, hub_name
from thirdaxis.tasks.trained.networks import NETWORKS
from thirdaxis.tasks.trained.provenance import provenance_of, shareable

ONNX_KEY = "thirdaxis"
"""The property of an ONNX file that holds what `config.json` holds."""


@dataclass(frozen=True)
class Model:
    """A trained network and all it needs to be used.

    Args:
        net: maps (N, channels, D, H, W) to the task's answer; on the CPU, in evaluation mode.
        settings: of its run; `settings.task` says what it was trained for.
        plan: what its data set decided: names of labels and channels, spacing, patch.
        provenance: 2D weights, training data, scores, versions, date; see `provenance_of`.
    """

    net: nn.Module
    settings: RunSettings
    plan: AnyPlan
    provenance: Mapping[str, Any]

    def moved(self, accelerator: str | None = None) -> torch.device:
        """Moves the network, in place, to the device to predict on, and returns that.

        Args:
            accelerator: `auto`, `cpu` or `gpu`; none takes the run's own.
        """
        device = pick_device(accelerator or self.settings.accelerator)
        self.net.to(device)
        return device

    def config(self) -> dict[str, Any]:
        """What `config.json` holds, but for the hash of the weights."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "task": self.settings.task,
            "settings": shareable(self.settings).plain(),
            "plan": self.plan.plain(),
            "provenance": dict(self.provenance),
        }


def load_model(path: str | Path | Model, *, task: str | None = None, trust: bool = False) -> Model:
    """Reads a trained model; needs neither its run, nor its data set, nor its 2D weights.

    Nothing in it is executed. A network of the form `package.module:factory` is a program of the
    installed packages, and is called only from a run folder or where `trust` says so.

    Args:
        path: a model folder or its zip, a MONAI bundle made of it, an ONNX file made of it,
            a run folder (its best epoch), or `hf://user/name` (`hf://user/name@revision`); a
            model that was read before is only checked for its task.
        task: what it has to be trained for, such as `segment`; none takes any.
        trust: whether a `package.module:factory` that the model names may be called.

    Returns:
        The model.

    Raises:
        InputError: a missing, damaged or foreign file, a later format, another task, or a program
            that is not trusted.
    """
    model = path if isinstance(path, Model) else _read(path, trust)
    if task is not None and model.settings.task != task:
        raise InputError(
            f"{path}: was trained to {model.settings.task}, expected a model trained to {task}"
        )
    return model


def _read(path: str | Path, trust: bool) -> Model:
    name = hub_name(path)
    place = Path(path) if name is None else fetched(name)
    if (place / SETTINGS).is_file() or (place / STAGES).is_file():
        return _of_run(place)
    if place.suffix == ".onnx":
        return _of_onnx(place)
    config, tensors = read_model_files(place)
    settings, plan = _understood(config, place)
    with programs(allowed=trust):
        net = _built(settings, plan, place)
    fill_exactly(net, tensors, f"{place}: its weights are not of its {settings.network}")
    return Model(net.eval(), settings, plan, _table(config, "provenance", place))


def save_model(model: Model, path: Path) -> None:
    """Writes a model: `config.json`, `model.safetensors` and a card, `README.md`.

    Args:
        model: on any device.
        path: a new or empty folder, or one that holds a model; or a file ending in `.zip`.

    Raises:
        UsageError: the folder holds other files, or the network is a graph without weights.
        OSError: the place cannot be written; nothing is left half-written.
    """
    write_model_files(path, model_files(model))


def model_files(model: Model) -> dict[str, bytes]:
    """The content of each file of a model folder.

    Raises:
        UsageError: the network is an ONNX graph, which cannot be taken apart again.
    """
    if isinstance(model.net, OnnxNet):
        raise UsageError("an ONNX file cannot be packed again; pack the model it was made from")
    weights = weights_of(model.net)
    config = model.config() | {"weights_sha256": sha256_of(weights)}
    return {
        CONFIG: (json.dumps(config, indent=2) + "\n").encode(),
        WEIGHTS: weights,
        CARD: card_of(config).encode(),
    }


def config_texts(model: Model) -> dict[str, str]:
    """What an exported file keeps beside its graph, so that it can be loaded as a model again."""
    return {ONNX_KEY: json.dumps(model.config())}


def licensed(model: Model, licence: str) -> Model:
    """The model under a licence that its maker gives it, as the Hugging Face Hub names licences."""
    return replace(model, provenance={**model.provenance, "licence": licence})


def pack_source(path: str | Path) -> str | Path:
    """Where to pack a model from: of a finished run, the model that was kept at its end.

    What was known then, such as the hash of the 2D weights, may be gone from the machine since.
    """
    kept = Path(path) / MODEL
    return kept if (kept / CONFIG).is_file() else path


def keep_model(run_folder: Path) -> None:
    """Leaves the model of a finished run in its folder, as `model/`."""
    save_model(load_model(run_folder), run_folder / MODEL)


def load_network(folder: str | Path) -> nn.Module:
    """The network of a model folder alone, as a MONAI bundle's configuration calls for it.

    Args:
        folder: as `load_model` takes it; trusted, as everything a bundle's configuration names.

    Returns:
        Maps (N, channels, D, H, W) to the task's answer, on the CPU, in evaluation mode. Where an
        operator asks for the thickness of slices, it is that of the model's spacing.

    Raises:
        InputError: as `load_model`.
    """
    return plain_network(load_model(folder, trust=True))


def plain_network(model: Model) -> nn.Module:
    """The network of a model as a function of volumes alone.

    Raises:
        UsageError: its operators ask for the thickness of slices, which differs by scan.
    """
    if not beside(model.net, torch.zeros(1, 1, 1, 1, 1)):
        return model.net
    told = model.settings.model_dump() | model.plan.plain()
    spacing = told.get("spacing")
    if spacing is None or spacing[0] is None:
        raise UsageError(
            f"{model.settings.fusion} asks for the thickness of slices, which only thirdaxis tells "
            "it; train with a spacing to use the network elsewhere"
        )
    return AtThickness(model.net, spacing[0])


class AtThickness(nn.Module):
    """A network whose operators ask for the thickness of slices, at one thickness.

    Args:
        net: the network.
        thickness: in mm.
    """

    def __init__(self, net: nn.Module, thickness: float) -> None:
        super().__init__()
        self.net = net
        self.thickness = thickness

    def forward(self, volume: Tensor) -> Tensor:
        """Answers as `net` does for volumes (N, C, D, H, W) of that thickness."""
        return self.net(volume, **beside(self.net, volume, self.thickness))


def _of_run(folder: Path) -> Model:
    run = read_run(folder)
    if run.settings.task not in NETWORKS:
        raise InputError(f"{folder}: a pretraining; begin other runs from its {PRETRAINED}")
    # Without cases set aside to choose an epoch by, the last one counts.
    checkpoint = folder / (BEST if run.validation else LAST)
    state = read_checkpoint(checkpoint)["state_dict"]
    net = _built(run.settings, run.plan, folder)
    inner = {
        name.removeprefix("net."): value for name, value in state.items() if name.startswith("net.")
    }
    fill_exactly(net, inner, f"{checkpoint}: does not fit the run's network")
    return Model(net.eval(), run.settings, run.plan, provenance_of(run))


def _of_onnx(path: Path) -> Model:
    net = OnnxNet(path)
    if ONNX_KEY not in net.metadata:
        raise InputError(
            f"{path}: an ONNX graph without settings and labels; expected one that "
            "`thirdaxis export` made of a trained model"
        )
    config = config_of_text(net.metadata[ONNX_KEY], path)
    settings, plan = _understood(config, path)
    return Model(net.eval(), settings, plan, _table(config, "provenance", path))


def _understood(config: Mapping[str, Any], source: Path) -> tuple[RunSettings, AnyPlan]:
    told = _table(config, "settings", source)
    try:
        settings = make_settings(told, f"{source}: {CONFIG}")
    except UsageError as error:
        maker = _table(config, "provenance", source).get("thirdaxis", "unknown")
        raise InputError(f"{error}; the model was made by thirdaxis {maker}") from None
    if settings.task not in NETWORKS or settings.task != config.get("task"):
        raise InputError(
            f"{source}: {CONFIG} tells of the task {config.get('task')!r} with settings of "
            f"{settings.task!r}; known tasks: {', '.join(NETWORKS)}"
        )
    try:
        plan = KINDS[settings.task].plan_from(_table(config, "plan", source))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{source}: {CONFIG} holds no plan of a model ({error!r})") from None
    return settings, plan


def _table(config: Mapping[str, Any], name: str, source: Path) -> dict[str, Any]:
    table = config.get(name)
    if not isinstance(table, dict):
        raise InputError(f"{source}: {CONFIG} has no table {name!r}")
    return table


def _built(settings: RunSettings, plan: AnyPlan, source: Path) -> nn.Module:
    """The network with a start to be overwritten; leaves torch's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        try:
            return NETWORKS[settings.task](settings, plan, load=False).net
        except UsageError as error:
            raise InputError(f"{source}: its network cannot be built: {error}") from None
