import pytest
import torch
from torch import nn

from thirdaxis.tasks.windows import logits_of


class Scaled(nn.Module):
    """Logits of each voxel from that voxel alone, so that blending cannot change them."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * self.scale.reshape(1, 3, 1, 1, 1)


@pytest.mark.parametrize("shape", [(8, 8, 8), (13, 9, 21), (3, 20, 5), (1, 1, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_windows_blend_to_the_voxelwise_answer(shape, overlap):
    image = torch.randn(1, *shape)
    logits = logits_of(Scaled(), image, (8, 8, 8), overlap)
    expected = torch.stack([image[0], -2 * image[0], 0.5 * image[0]])
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    assert not logits.requires_grad
