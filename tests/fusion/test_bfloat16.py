"""Gradients in bfloat16 on a CPU, where torch's own are garbage for kernels beyond their volume."""

import pytest
import torch
from torch import nn

import thirdaxis
from thirdaxis.fusion.table import ON_CONVOLUTIONS


def gradients(lifted, x, told, autocast):
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        answer = lifted(x, **told)
    wanted = [x, *lifted.parameters()]
    return torch.autograd.grad(answer.float().square().sum(), wanted)


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
@pytest.mark.parametrize("kernel", [3, (7, 1), (1, 7)], ids=str)
@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 4, 4), (10, 2, 2), (3, 1, 2)], ids=str)
def test_kernels_that_reach_beyond_their_volume(fusion, operator, told, kernel, shape):
    torch.manual_seed(0)
    half = [side // 2 for side in kernel] if isinstance(kernel, tuple) else kernel // 2
    lifted = thirdaxis.convert(nn.Conv2d(64, 64, kernel, padding=half), operator(fusion, shape[0]))
    x = torch.randn(2, 64, *shape)
    exact = gradients(lifted, x, told(fusion, x), autocast=False)
    for _ in range(2):  # garbage is another each time, and may be small
        for ours, theirs in zip(gradients(lifted, x, told(fusion, x), True), exact, strict=True):
            assert torch.linalg.vector_norm(ours - theirs) <= 0.05 * theirs.norm() + 1e-3
