import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim

from thirdaxis.convert.private import for_any_size
from thirdaxis.nets.ahnet_decoder import AnisotropicDecoder, PyramidPooling, enlarged


class Doubled(nn.Module):
    def forward(self, x):
        return enlarged(x, [2 * side for side in x.shape[2:]])


def test_an_exported_step_up_takes_any_depth():
    x = torch.randn(1, 2, 4, 3, 5)
    with for_any_size():
        program = torch.export.export(
            Doubled(), (x,), dynamic_shapes=({2: Dim.AUTO},), strict=False
        )
    for depth in (1, 4, 7):
        x = torch.randn(1, 2, depth, 3, 5)
        expected = F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
        torch.testing.assert_close(program.module()(x), expected)
        torch.testing.assert_close(Doubled()(x), expected)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (64, 70)])
def test_windows_of_the_pyramid_hold_what_is_left_at_an_end(size):
    """Constant voxels but for one in the last corner, which every window over it must see."""
    pyramid = PyramidPooling(1, (8, 64))
    for project in pyramid.project:
        nn.init.ones_(project.weight)
        nn.init.zeros_(project.bias)
    x = torch.zeros(1, 1, 1, *size)
    x[..., -1, -1] = 1
    seen = []
    for project in pyramid.project:
        project.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    answer = pyramid(x)
    assert answer.shape == (1, 3, 1, *size) and torch.equal(answer[:, 2:], x)
    for pooled, side in zip(seen, (8, 64), strict=True):
        assert pooled.shape[-2:] == tuple(math.ceil(n / side) for n in size)
        assert pooled[..., -1, -1] == 1 and pooled.sum() == 1


def test_its_start_is_that_of_the_code():
    """Normal, by the plane of the kernel and the channels that come out."""
    torch.manual_seed(0)
    decoder = AnisotropicDecoder((64, 64, 64, 128, 256, 512), 3)
    layer = decoder.dense[0][0]
    for step, fan in ((layer.enter, 80), (layer.plane, 9 * 20), (layer.depth, 20)):
        found = step[2].weight.std().item()
        assert found == pytest.approx(math.sqrt(2 / fan), rel=0.05), step
    assert all(p.bias.abs().max() > 0 for p in decoder.pyramid.project)


def test_its_gradients_are_right_in_bfloat16_too():
    """torch's own leaves parts unwritten on a CPU where kernels reach beyond their maps."""
    torch.manual_seed(0)
    channels, sides = (8, 8, 8, 16, 16, 16), (16, 8, 8, 4, 2, 1)
    decoder = AnisotropicDecoder(channels, 2).eval()
    maps = [torch.randn(2, c, max(2, s // 2), s, s) for c, s in zip(channels, sides, strict=True)]

    def gradients(autocast):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            answer = decoder(maps, (8, 32, 32))
        kernels = [p for p in decoder.parameters() if p.ndim == 5]
        return torch.autograd.grad(answer.float().square().sum(), kernels)

    exact = gradients(False)
    for _ in range(2):  # garbage is another each time
        for ours, theirs in zip(gradients(True), exact, strict=True):
            assert torch.linalg.vector_norm(ours - theirs) <= 0.3 * theirs.norm() + 1e-3
