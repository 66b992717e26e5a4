"""A whole volume through a network that was trained on patches."""

import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor, nn

from thirdaxis.convert.lift import beside

# Beyond this many output numbers the blended volume is kept in main memory, not on the card.
MOST_ON_DEVICE = 2**28


def logits_of(
    net: nn.Module,
    image: Tensor,
    patch: tuple[int, int, int],
    overlap: float,
    windows: int = 4,
    thickness: float = 1.0,
) -> Tensor:
    """Slides the network over a volume and blends its windows with Gaussian weights.

    A volume smaller than the patch is padded with zeros and the result cut back.

    Args:
        net: maps (N, C, d, h, w) to logits (N, classes, d, h, w), on any device.
        image: (C, D, H, W), on any device.
        patch: window size (d, h, w) in voxels.
        overlap: of neighbouring windows, 0 to below 1.
        windows: windows run together.
        thickness: distance between slices in mm, for operators that ask.

    Returns:
        Logits (classes, D, H, W), float32, on the network's device, or on the CPU for volumes
        beyond `MOST_ON_DEVICE` numbers.
    """

    def run(part: Tensor) -> Tensor:
        return net(part, **beside(net, part, thickness))

    device = next((weight.device for weight in net.parameters()), image.device)
    with torch.no_grad():
        classes = run(torch.zeros(1, image.shape[0], *patch, device=device)).shape[1]
        large = classes * image[0].numel() > MOST_ON_DEVICE
        blended = sliding_window_inference(
            image[None],
            roi_size=patch,
            sw_batch_size=windows,
            predictor=lambda part: run(part).float(),
            overlap=overlap,
            mode="gaussian",
            sw_device=device,
            device="cpu" if large else device,
        )
    assert isinstance(blended, Tensor)
    return blended[0]
