"""The 3D U-Net of Models Genesis, whose public weights it takes; 3D by itself."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)


def _step(into: int, out: int) -> nn.Sequential:
    layers = {"conv1": nn.Conv3d(into, out, 3, padding=1), "bn1": nn.BatchNorm3d(out)}
    return nn.Sequential(OrderedDict({**layers, "activation": nn.ReLU(inplace=True)}))


class Steps(nn.Module):
    """Two convolutions of 3 × 3 × 3 with norm and ReLU, behind an enlargement if there is one.

    Args:
        into: channels that the first convolution takes.
        between: channels of the first.
        out: channels of the second.
        enlarged: channels of the map to enlarge; 0 enlarges none.
    """

    def __init__(self, into: int, between: int, out: int, enlarged: int = 0) -> None:
        super().__init__()
        if enlarged:
            self.up_conv = nn.ConvTranspose3d(enlarged, enlarged, 2, 2)
        self.ops = nn.Sequential(_step(into, between), _step(between, out))

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Maps ``(N, out, D, H, W)``; with a `skip` of twice the sides, of its size."""
        return self.ops(x if skip is None else torch.cat([self.up_conv(x), skip], 1))


class GenesisUNet(nn.Module):
    """The network of Zhou et al., "Models Genesis", Medical Image Analysis 2021, and of its code.

    Three poolings, joined again behind transposed convolutions. Parameters have the names of the
    published file, ``Genesis_Chest_CT.pt``, which `thirdaxis.nets.pretrained.load_pretrained`
    reads; with one class all of them fit. The published code takes every norm's statistics from the
    batch, in evaluation too, and ends in a sigmoid; here norms keep running ones and scores are
    logits.

    Args:
        in_channels: of the volumes; the file has one.
        classes: channels of the answer.
    """

    def __init__(self, in_channels: int = 1, classes: int = 1) -> None:
        super().__init__()
        into = in_channels
        for width in WIDTHS:
            setattr(self, f"down_tr{width}", Steps(into, width // 2, width))
            into = width
        for width in WIDTHS[-2::-1]:
            setattr(self, f"up_tr{width}", Steps(into + width, width, width, enlarged=into))
            into = width
        self.out_tr = nn.ModuleDict({"final_conv": nn.Conv3d(into, classes, 1)})

    def forward(self, volume: Tensor) -> Tensor:
        """Class scores (logits) ``(N, classes, D, H, W)``.

        Args:
            volume: ``(N, in_channels, D, H, W)``, sides multiples of 8.
        """
        skips, x = [], volume
        for width in WIDTHS:
            x = getattr(self, f"down_tr{width}")(x)
            if width != WIDTHS[-1]:
                skips.append(x)
                x = nn.functional.max_pool3d(x, 2)
        for width in WIDTHS[-2::-1]:
            x = getattr(self, f"up_tr{width}")(x, skips.pop())
        return self.out_tr["final_conv"](x)
