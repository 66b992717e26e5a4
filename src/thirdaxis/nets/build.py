"""2D networks by name, with their weights: the project's own, the zoos', the user's."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import torchvision
from torch import Tensor, nn

import thirdaxis
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.nets.encoder_unet import EncoderUNet
from thirdaxis.nets.encoders import ChainEncoder, TimmEncoder
from thirdaxis.nets.lidc import LIDC
from thirdaxis.nets.p3d63 import P3D
from thirdaxis.nets.programs import call_program
from thirdaxis.nets.published import NETWORKS
from thirdaxis.nets.unet import UNet
from thirdaxis.nets.volumetric import flat, library_tensors
from thirdaxis.nets.weights import (
    Weights,
    WeightsReport,
    fill,
    read_tensors,
    tensors_of,
    transfer,
)

Task = Literal["segment", "classify"]

FORMS = (
    "'unet', 'torchvision:NAME', 'timm:NAME', 'smp:ARCHITECTURE/ENCODER', a network of the papers "
    "('lidc:resnet18', 'fcn:resnet18', 'resunet:resnet18', 'ahnet:resnet50', 'resnet3d:18', ...) "
    "or 'package.module:factory'"
)
# Their extra heads serve training from scratch on ImageNet only.
_WITHOUT_EXTRA_HEADS: dict[str, dict[str, bool]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


@dataclass(frozen=True)
class Built:
    """A 2D network ready to convert.

    Args:
        net: takes ``(N, C, H, W)``.
        weights: what became of the given weights; None where none were given.
        rgb: whether `net` takes three channels as pretrained networks do; conversion with
            ``in_channels`` fits it to others.
        start: how its kernels are drawn anew once they are 3D, see
            `thirdaxis.nets.starts.start_anew`; None leaves the 2D ones repeated along depth.
        lift: converts it, with the arguments of `thirdaxis.convert`; its own where a part of the
            network is 3D code, which the rest cannot run without.
    """

    net: nn.Module
    weights: WeightsReport | None
    rgb: bool
    start: str | None = None
    lift: Callable[..., nn.Module] = thirdaxis.convert

    def adapted(self, channels: int) -> int | None:
        """``in_channels`` for the conversion to volumes of so many channels."""
        return channels if self.rgb and channels != 3 else None


def weights_named(word: str | None) -> Weights:
    """Weights as a command line or a settings file names them: ``library``, a file, or none."""
    if word is None or word == "library":
        return word  # type: ignore[return-value]
    return Path(word)


class OnlyOut(nn.Module):
    """A torchvision segmentation network that returns its answer instead of a dictionary."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """Class scores ``(N, classes, H, W)`` of an image ``(N, 3, H, W)``."""
        return self.net(image)["out"]


def build(
    name: str,
    *,
    classes: int,
    in_channels: int = 1,
    weights: Weights = None,
    task: Task = "segment",
) -> Built:
    """Builds a 2D network by name.

    For segmentation, a classifier of torchvision or timm becomes the encoder of an `EncoderUNet`;
    the segmentation networks of torchvision and segmentation-models-pytorch are taken whole.

    Args:
        name: ``unet``, ``torchvision:NAME``, ``timm:NAME``, ``smp:ARCHITECTURE/ENCODER``,
            ``lidc:NAME`` (`thirdaxis.nets.lidc`: classifiers with fine maps), ``resnet3d:NAME``
            or ``p3d:NAME`` (`thirdaxis.nets.volumetric`), a segmentation network of the papers
            (`thirdaxis.nets.published`), or
            ``package.module:factory``, called as ``factory(in_channels=..., classes=...)``.
        classes: channels of the answer.
        in_channels: channels of the image; networks of the libraries stay RGB (`Built.rgb`).
        weights: a file in the network's own layout (for a classifier, the library's), ``library``
            for the library's pretrained weights, or None for a random start.
        task: ``segment``, or ``classify`` for classifiers as they are.

    Raises:
        UsageError: an unknown name, or a network that cannot do the task.
        InputError: weights that cannot be read, fetched, or do not fit.
    """
    if classes < 1 or in_channels < 1:
        raise UsageError(
            f"a network needs at least one class and channel: {classes=}, {in_channels=}"
        )
    if task not in ("segment", "classify"):
        raise UsageError(f"unknown task {task!r}{did_you_mean(task, ('segment', 'classify'))}")
    if name == "unet":
        _segments_only(name, task)
        return _own(name, UNet(in_channels, classes), weights)
    library, _, rest = name.partition(":")
    if library in {known.partition(":")[0] for known in NETWORKS}:
        _segments_only(name, task)
        return _published(name, classes, weights)
    match library:
        case _ if not rest:
            likely = "unet" if get_close_matches(name.lower(), ["unet"]) else f"torchvision:{name}"
            raise UsageError(f"unknown network {name!r}; did you mean {likely!r}? Expected {FORMS}")
        case "torchvision":
            return _torchvision(rest, classes, weights, task)
        case "timm":
            return _timm(rest, classes, weights, task)
        case "lidc":
            return _lidc(rest, classes, weights, task)
        case "resnet3d" | "p3d":
            return _volumetric(name, classes, in_channels, weights, task)
        case "smp":
            _segments_only(name, task)
            return _smp(rest, classes, weights)
        case _:
            net = call_program(name, FORMS, in_channels=in_channels, classes=classes)
            return _own(name, net, weights)


def natural_task(name: str) -> Task:
    """What the network of that name does as its library gives it: torchvision and timm classify,
    but for the segmentation networks of torchvision.
    """
    library, _, rest = name.partition(":")
    segmenters = torchvision.models.list_models(module=torchvision.models.segmentation)
    is_classifier = library in ("timm", "lidc", "resnet3d", "p3d") or (
        library == "torchvision" and rest not in segmenters
    )
    return "classify" if is_classifier else "segment"


def _segments_only(name: str, task: Task) -> None:
    if task != "segment":
        raise UsageError(f"{name} segments; to classify, take 'torchvision:NAME' or 'timm:NAME'")


def _check_known(name: str, known: Iterable[str], library: str) -> None:
    known = list(known)
    if name not in known:
        near = get_close_matches(name.lower(), known, n=6, cutoff=0.3) or known[:6]
        raise UsageError(f"unknown {library} network {name!r}{did_you_mean(name, near)}, ...")


def _as_encoder(
    encoder: ChainEncoder | TimmEncoder, classes: int, report: WeightsReport | None
) -> Built:
    if report is not None:
        report = report.keep(set(encoder.body.state_dict()), "no part of the encoder")
    return Built(EncoderUNet(encoder, classes), report, rgb=True)


def _own(name: str, net: nn.Module, weights: Weights) -> Built:
    if weights == "library":
        raise UsageError(f"{name} has no library weights; give a file, or none for a random start")
    report = None if weights is None else transfer(net, read_tensors(weights), str(weights))
    return Built(net, report, rgb=False)


def _torchvision(name: str, classes: int, weights: Weights, task: Task) -> Built:
    models = torchvision.models
    classifiers = models.list_models(module=models)
    segmenters = models.list_models(module=models.segmentation)
    _check_known(name, classifiers + (segmenters if task == "segment" else []), "torchvision")
    full = f"torchvision:{name}"
    given = tensors_of(
        full, weights, lambda: models.get_model(name, weights="DEFAULT").state_dict()
    )
    if name in segmenters:
        net = models.get_model(name, weights=None, weights_backbone=None, num_classes=classes)
        return Built(OnlyOut(net), fill(net, given, "backbone"), rgb=True)
    settings: dict[str, Any] = {"weights": None, **_WITHOUT_EXTRA_HEADS.get(name, {})}
    if task == "classify":
        net = models.get_model(name, num_classes=classes, **settings)
        return Built(net, fill(net, given, "features"), rgb=True)
    net = models.get_model(name, **settings)
    report = fill(net, given, "")
    return _as_encoder(ChainEncoder(net, full), classes, report)


def _timm(name: str, classes: int, weights: Weights, task: Task) -> Built:
    import timm

    _check_known(name.partition(".")[0], timm.list_models(), "timm")
    full = f"timm:{name}"
    given = tensors_of(full, weights, lambda: timm.create_model(name, pretrained=True).state_dict())
    if task == "classify":
        net = timm.create_model(name, num_classes=classes)
        return Built(net, fill(net, given, ""), rgb=True)
    net = timm.create_model(name)
    report = fill(net, given, "")
    encoder = TimmEncoder if hasattr(net, "forward_intermediates") else ChainEncoder
    return _as_encoder(encoder(net, full), classes, report)


def _lidc(name: str, classes: int, weights: Weights, task: Task) -> Built:
    _check_known(name, LIDC, "lidc")
    make, source = LIDC[name]
    full = f"lidc:{name}"
    models = torchvision.models
    given = tensors_of(
        full, weights, lambda: models.get_model(source, weights="DEFAULT").state_dict()
    )
    net = make(classes)
    report = fill(net, given, "")
    if task == "classify":
        return Built(net, report, rgb=True)
    return _as_encoder(ChainEncoder(net, full), classes, report)


def _volumetric(name: str, classes: int, in_channels: int, weights: Weights, task: Task) -> Built:
    net = flat(name, in_channels=in_channels, classes=classes)
    if weights == "library" and isinstance(net, P3D):
        raise UsageError(f"{name} has no library weights; give a file, or none for a random start")
    report = fill(net, tensors_of(name, weights, lambda: library_tensors(name)), "")
    start = "kaiming" if report is None else None
    if task == "classify":
        return Built(net, report, rgb=False, start=start)
    built = _as_encoder(ChainEncoder(net, name, in_channels), classes, report)
    return replace(built, rgb=False, start=start)


def _published(name: str, classes: int, weights: Weights) -> Built:
    if name not in NETWORKS:
        raise UsageError(f"unknown network {name!r}{did_you_mean(name, NETWORKS)}")
    told = NETWORKS[name]
    models = torchvision.models
    given = tensors_of(
        name, weights, lambda: models.get_model(told.weights, weights="DEFAULT").state_dict()
    )
    net = told.make(classes)
    renamed = None if given is None else (told.renamed(given[0]), given[1])
    return Built(net, fill(net, renamed, "encoder"), rgb=True, lift=told.lift)


def _smp(name: str, classes: int, weights: Weights) -> Built:
    import segmentation_models_pytorch as smp

    architecture, _, encoder = name.partition("/")
    modules = [c for c in vars(smp).values() if isinstance(c, type) and issubclass(c, nn.Module)]
    architectures: dict[str, Callable[..., nn.Module]] = {c.__name__.lower(): c for c in modules}
    if not encoder:
        raise UsageError(f"unknown network 'smp:{name}'; expected 'smp:ARCHITECTURE/ENCODER'")
    _check_known(architecture.lower(), architectures, "smp")
    if not encoder.startswith("tu-"):
        _check_known(encoder, smp.encoders.get_encoder_names(), "smp encoder")

    def make(encoder_weights: str | None) -> nn.Module:
        try:
            return architectures[architecture.lower()](
                encoder, encoder_weights=encoder_weights, in_channels=3, classes=classes
            )
        except (ValueError, KeyError) as e:
            raise UsageError(f"smp:{name} cannot be built: {e}") from e

    given = tensors_of(f"smp:{name}", weights, lambda: make("imagenet").encoder.state_dict())  # type: ignore[union-attr,operator]
    net = make(None)
    return Built(net, fill(net, given, "encoder"), rgb=True)
