"""The 3D backbone of the lesion detector: a 2D classifier's three levels, converted, depth kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from thirdaxis.convert.lift import Conversion
from thirdaxis.convert.network import convert
from thirdaxis.convert.settings import Override
from thirdaxis.convert.stacked import stacked
from thirdaxis.errors import UsageError
from thirdaxis.nets.build import build
from thirdaxis.nets.densenet import TruncatedDenseNet121
from thirdaxis.nets.encoder_unet import EncoderUNet
from thirdaxis.nets.encoders import ChainEncoder, Encoder
from thirdaxis.nets.lesion.pyramid import windows
from thirdaxis.nets.lesion.settings import PAPERS_BACKBONE, DetectorSettings
from thirdaxis.nets.weights import Weights, WeightsReport, fill, tensors_of

STRIDES = (4, 8, 16)


def encoder_named(name: str, weights: Weights = None) -> tuple[Encoder, WeightsReport | None]:
    """A 2D network with maps at strides 4, 8 and 16, and what became of its weights.

    Args:
        name: ``"densenet121"``, or a classifier as `thirdaxis.nets.build.build` takes it.
        weights: a file, ``"library"``, or None for a random start.

    Raises:
        UsageError: an unknown network, or one without these maps.
        InputError: weights that cannot be read, fetched, or do not fit.
    """
    if name.removeprefix("torchvision:") == PAPERS_BACKBONE:
        from torchvision.models import get_model

        given = tensors_of(
            name, weights, lambda: get_model(PAPERS_BACKBONE, weights="DEFAULT").state_dict()
        )
        net = TruncatedDenseNet121()
        return net, fill(net, given, "features")
    built = build(name, classes=1, in_channels=3, weights=weights, task="segment")
    if not isinstance(built.net, EncoderUNet):
        raise UsageError(
            f"{name} is no classifier, whose levels a detector could take; expected "
            "'densenet121', 'torchvision:NAME' or 'timm:NAME'"
        )
    encoder: Any = built.net.encoder
    try:
        encoder.only(STRIDES)
    except UsageError as error:
        raise UsageError(f"{name} cannot be the backbone of a detector: {error}") from None
    report = built.weights
    if report is not None:
        report = report.keep(set(encoder.body.state_dict()), "no part of the backbone")
    return encoder, report


class Backbone(nn.Module):
    """Maps of the slices, of three levels, from a volume of one channel.

    Everything but the operators acts slice by slice, and every slice is kept.

    Attributes:
        channels: of the levels, finest first.
        is_stacked: whether slices are the channels of a 2D network, so that D slices give one.
        fixed_depth: slices that every call must give, where operators fix their number.

    Args:
        encoder: a 2D network that takes RGB pictures and gives a list of maps; with ``channels``.
        settings: of the detector.
        place: pattern of the modules that get the operator; None is all.
    """

    def __init__(self, encoder: Any, settings: DetectorSettings, place: str | None = None) -> None:
        super().__init__()
        self.channels: tuple[int, ...] = tuple(encoder.channels)
        self.depth = settings.depth
        self.is_stacked = settings.is_stacked
        self.fixed_depth: int | None = None
        self.steps: tuple[tuple[str, bool], ...] = ()
        self.ahead = 0
        if self.is_stacked:
            self.net = stacked(encoder, settings.depth)
            return
        self.net = convert(
            encoder,
            settings.operator() if place is None else "slicewise",
            depth_stride=False,
            in_channels=1,
            stem=settings.stem,
            statistics=settings.statistics,
            overrides=_overrides(settings, place),
        )
        conversion: Any = self.net._thirdaxis
        self.fixed_depth = conversion.fixed_depth
        self.steps = _steps(self.net)
        fusing = [_fuses(conversion, name) for name, _ in self.steps]
        self.ahead = (fusing + [True]).index(True)

    def forward(self, volume: Tensor, thickness: Tensor | None = None) -> list[Tensor]:
        """Maps ``(N, C, D, h, w)``, finest first.

        Of stacked slices every window of D gives one map, so of D + n slices n + 1 are left.

        Args:
            volume: ``(N, 1, D, H, W)``, H and W multiples of 32.
            thickness: ``(N,)``, mm between slices, which some operators need.

        Raises:
            InputError: no thickness where it is needed, or a depth that operators do not fit.
        """
        if self.is_stacked:
            count = len(volume)
            maps = self.net(windows(volume, self.depth))
            return [x.unflatten(0, (count, -1)).movedim(1, 2) for x in maps]
        return self.net(volume, **_told(thickness))

    def before_fusion(self, volume: Tensor) -> list[Tensor]:
        """What can be computed once for each slice, whichever windows it is seen in.

        Args:
            volume: ``(N, 1, S, H, W)``, any number of slices.

        Returns:
            Volumes ``(N, C, S, h, w)`` for `after`: the levels found on the way, and the map that
            goes into the first operator, if there is any.
        """
        found, x = [], volume
        for name, is_level in self.steps[: self.ahead]:
            x = self.net.get_submodule(name)(x)
            if is_level:
                found.append(x)
        return found if self._is_done else [*found, x]

    def after(self, parts: Sequence[Tensor], thickness: Tensor | None = None) -> list[Tensor]:
        """Maps of the volumes whose slices `before_fusion` gave; see `forward`.

        Args:
            parts: from `before_fusion`, or windows of these.
            thickness: ``(N,)``, mm between slices, which some operators need.
        """
        if not self.ahead:
            return self(parts[0], thickness)
        found = list(parts)
        if self._is_done:
            return found
        x = found.pop()
        for name, is_level in self.steps[self.ahead :]:
            x = self.net.get_submodule(name)(x, **_told(thickness))
            if is_level:
                found.append(x)
        return found

    @property
    def _is_done(self) -> bool:
        return 0 < self.ahead == len(self.steps)


def _told(thickness: Tensor | None) -> dict[str, Tensor]:
    return {} if thickness is None else {"thickness": thickness}


def _overrides(settings: DetectorSettings, place: str | None) -> Mapping[str, Override] | None:
    placed: dict[str, Override] = {} if place is None else {place: settings.operator()}
    return {**placed, **(settings.overrides or {})} or None


def _steps(net: nn.Module) -> tuple[tuple[str, bool], ...]:
    """Layers that follow one another, by name, and whether a level comes out of each."""
    if isinstance(net, ChainEncoder):
        return tuple((f"body.{name}", i in net.taps) for i, name in enumerate(net.steps))
    if isinstance(net, TruncatedDenseNet121):
        names = [name for name, _ in net.features.named_children()]
        return tuple((f"features.{name}", name.startswith("denseblock")) for name in names)
    return ()


def _fuses(conversion: Conversion, step: str) -> bool:
    """Whether a layer, or anything in it, may look beyond its slice."""
    if conversion.turns:
        return True
    outer = conversion.setting
    for name, setting in conversion.parts.items():  # outer ones come first
        if step == name or step.startswith(f"{name}."):
            outer = setting
    inner = [s for name, s in conversion.parts.items() if name.startswith(f"{step}.")]
    return any(s.fusion.mixes_slices or s.statistics == "volume" for s in (outer, *inner))
