"""AH-Net: an encoder that was a 2D network, and an anisotropic decoder that is 3D."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

import thirdaxis
from thirdaxis.convert.entry import is_converted
from thirdaxis.convert.lift import Conversion
from thirdaxis.convert.settings import Override
from thirdaxis.errors import InputError, UsageError
from thirdaxis.fusion.base import Fusion
from thirdaxis.nets.ahnet_decoder import POOLS, AnisotropicDecoder
from thirdaxis.nets.resnet_maps import DepthPool, ResNetMaps

STRIDE = 32


class AHNet(nn.Module):
    """The anisotropic hybrid network, on volumes once its encoder is converted.

    Source: Liu et al., "3D Anisotropic Hybrid Network: Transferring Convolutional Features from 2D
    Images to 3D Anisotropic Volumes", MICCAI 2018, and its code. On ResNet-50 with one class it has
    the paper's 27,085,500 parameters and 123 convolutions; a further class adds 1,152.

    Sides may have any length from 1. Each halving rounds up, as if the end were padded with what no
    pool takes, and each step up returns to the size of the map it meets. Where depth, height and
    width are multiples of 32 and the last two of 128 as well, all of this is the authors' code.

    Args:
        encoder: a `ResNetMaps` with ``depth_pools``; `lift_ahnet` converts it.
        decoder: for its maps.
    """

    def __init__(self, encoder: nn.Module, decoder: AnisotropicDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, volume: Tensor, thickness: Tensor | None = None) -> Tensor:
        """Class scores (logits) at the resolution of the volume.

        Args:
            volume: ``(N, in_channels, D, H, W)``.
            thickness: ``(N,)`` in mm, where the encoder's operator asks for it.

        Returns:
            ``(N, classes, D, H, W)``.

        Raises:
            InputError: no such volume; or one position is left to train the coarsest norms on.
            UsageError: the encoder is still 2D.
        """
        if not is_converted(self.encoder):
            raise UsageError("ahnet: its encoder is 2D; take what lift_ahnet(net) returns")
        if volume.dim() != 5:
            raise InputError(f"ahnet takes volumes (N, C, D, H, W), got {tuple(volume.shape)}")
        if self.training:
            check_batch(volume.shape[0], volume.shape[2:])
        told = {} if thickness is None else {"thickness": thickness}
        return self.decoder(self.encoder(volume, **told), volume.shape[2:])


def check_batch(batch: int, sides: Sequence[int]) -> None:
    """Checks that AH-Net can be trained on so many volumes together.

    Args:
        batch: volumes.
        sides: D, H and W of each.

    Raises:
        InputError: one position is left to train the coarsest norms on.
    """
    if max(batch, *(-(-n // STRIDE) for n in sides)) == 1:
        raise InputError(
            f"ahnet: a single volume of {' x '.join(map(str, sides))} leaves one position at "
            f"stride {STRIDE}, and batch norm cannot train on that: take a batch of 2, or a "
            f"side above {STRIDE}"
        )


def flat_ahnet(
    classes: int = 1,
    resnet: str = "resnet50",
    *,
    output_kernel: int = 3,
    pools: Sequence[int] = POOLS,
) -> AHNet:
    """An `AHNet` whose encoder is still 2D, for weights of 2D networks and for `lift_ahnet`.

    Args:
        classes: channels of the answer.
        resnet: torchvision's name of the encoder.
        output_kernel: see `AnisotropicDecoder`.
        pools: see `AnisotropicDecoder`.

    Raises:
        UsageError: an unknown ResNet.
    """
    encoder = ResNetMaps(resnet, depth_pools=True)
    decoder = AnisotropicDecoder(
        encoder.channels, classes, output_kernel=output_kernel, pools=pools
    )
    return AHNet(encoder, decoder)


def lift_ahnet(
    net: nn.Module,
    fusion: str | Fusion = "slicewise",
    *,
    depth_stride: bool | None = None,
    in_channels: int | None = 1,
    stem: str = "depth",
    statistics: str | None = None,
    overrides: Mapping[str, Override] | None = None,
) -> nn.Module:
    """Converts the encoder of an AH-Net; takes what `thirdaxis.convert` takes.

    The paper's network is what the defaults make. Another operator lifts the encoder's spatial
    convolutions; depth is pooled where the paper pools it, and the decoder stays as it is.

    Args:
        net: from `flat_ahnet`; untouched.
        fusion: of the encoder.
        depth_stride: whether to pool depth; None does, False keeps every slice on all levels.
        in_channels: of the volumes; None is 3.
        stem: ``"depth"`` makes red, green and blue of the first kernel its three slices.
        statistics: as for `thirdaxis.convert`.
        overrides: as for `thirdaxis.convert`, by names inside the encoder.

    Raises:
        UsageError: an argument that makes no sense, or no AH-Net with a 2D encoder.
    """
    if not isinstance(net, AHNet) or is_converted(net.encoder):
        raise UsageError("lift_ahnet takes a network that flat_ahnet returned")
    flat, pooled = copy.deepcopy(net.encoder), depth_stride is not False
    for part in flat.modules():
        if isinstance(part, DepthPool):
            part.slices = 2 if pooled else 1
    encoder = thirdaxis.convert(
        flat,
        fusion,
        depth_stride=False,
        in_channels=in_channels or 3,
        stem=stem,
        statistics=statistics,
        overrides={"maxpool": {"depth_stride": pooled}, **(overrides or {})},
    )
    lifted = AHNet(encoder, copy.deepcopy(net.decoder)).train(net.training)
    done = cast(Conversion, encoder._thirdaxis)
    # The account of it, by names inside the encoder; its pools stride depth, not its convolutions.
    setting = replace(done.setting, depth_stride=pooled)
    lifted._thirdaxis = replace(done, setting=setting)  # type: ignore[assignment]
    return lifted


def ahnet(
    classes: int = 1,
    *,
    in_channels: int = 1,
    resnet: str = "resnet50",
    fusion: str | Fusion = "slicewise",
    output_kernel: int = 3,
) -> nn.Module:
    """An AH-Net on volumes ``(N, in_channels, D, H, W)``, from a random start.

    Args:
        classes: channels of the answer.
        in_channels: of the volumes.
        resnet: torchvision's name of the encoder, ``resnet18`` to ``resnet152``.
        fusion: of the encoder.
        output_kernel: see `AnisotropicDecoder`.

    Raises:
        UsageError: an unknown ResNet or fusion.
    """
    net = flat_ahnet(classes, resnet, output_kernel=output_kernel)
    return lift_ahnet(net, fusion, in_channels=in_channels)
