"""The truncated DenseNet-121 of the networks for lesion detection."""

from torch import Tensor, nn
from torchvision.models import densenet121


class TruncatedDenseNet121(nn.Module):
    """DenseNet-121 up to its third dense block, with the maps of all three blocks.

    The 3D backbone of Yang et al., "Asymmetric 3D Context Fusion for Universal Lesion Detection",
    MICCAI 2021, and of AlignShift, MICCAI 2020, before its conversion. Maps are the blocks' own,
    before the transition's norm. Parameters have torchvision's names, so that its weights fit:
    4,267,392 of them, and 4,261,120 with a stem for one channel.

    The papers convert it with ``depth_stride=False``, one channel of input, ``stem="green"`` and
    their operator at ``"@dense_layers"``.
    """

    in_channels = 3
    channels: tuple[int, ...] = (256, 512, 1024)
    strides: tuple[int, ...] = (4, 8, 16)

    def __init__(self) -> None:
        super().__init__()
        self.features = densenet121(weights=None).features
        names = [name for name, _ in self.features.named_children()]
        for name in names[names.index("denseblock3") + 1 :]:
            delattr(self.features, name)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of an image.

        Args:
            image: ``(N, 3, H, W)``, both sides at least 16.

        Returns:
            ``(N, 256, H / 4, W / 4)``, ``(N, 512, H / 8, W / 8)``, ``(N, 1024, H / 16, W / 16)``.
        """
        maps = []
        for name, layer in self.features.named_children():
            image = layer(image)
            if name.startswith("denseblock"):
                maps.append(image)
        return maps
