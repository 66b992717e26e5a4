"""Code that people write in a forward: the carrier's rules against the 2D network by slice."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import thirdaxis
from thirdaxis.convert.carrier import RULES, hide_volume_like
from thirdaxis.convert.rules_pool import unfolded

pytestmark = pytest.mark.usefixtures("repeatable")


class Program(nn.Module):
    """A convolution, then a given piece of 2D code."""

    def __init__(self, code):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.code = code

    def forward(self, x):
        return self.code(self.conv(x))


def shuffled(x):
    n, c, h, w = x.size()
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)


def written(x):
    x = x.clone()
    x[:, :2] = x[:, 2:4] * 2
    x[:, 4:, ::2] = 0.0
    x[x > 1] = 1.0
    return x


def attended(x):
    n, c, h, w = x.shape
    heads = x.flatten(2).transpose(1, 2).reshape(n, -1, 2, 4).transpose(1, 2)
    q, k, v = heads, heads * 2, heads * 3
    out = F.scaled_dot_product_attention(q, k, v)
    by_hand = ((q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5).softmax(-1) @ v
    return torch.cat([out, by_hand], 1)


def tail_padded(x):
    small = F.max_pool2d(x, 2)
    big = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=True)
    rows, columns = x.size(2) - big.size(2), x.size(3) - big.size(3)
    big = F.pad(big, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
    return torch.cat([x, big], dim=1)


KEEPING = {  # code that keeps slices apart
    "arithmetic": lambda x: (2 * x + x.abs().sqrt() - x / 3) ** 2 // 1 + (-x).clamp(min=0),
    "in place": lambda x: x.mul_(2).add_(1).relu_(),
    "broadcast": lambda x: x * torch.arange(8.0).view(8, 1, 1) + torch.ones(2, 1, 1, 1),
    "rows": lambda x: x + x.mean(-1, keepdim=True) + x.amax(2, keepdim=True),
    "softmax": lambda x: x.softmax(1) + F.log_softmax(x, dim=-1) + torch.cumsum(x, 2),
    "channel shuffle": shuffled,
    "split": lambda x: torch.cat(x.chunk(4, 1)[::-1], 1)[:, 1:7],
    "split sizes": lambda x: torch.cat(torch.split(x, [3, 5], dim=1)[::-1], dim=1),
    "stack": lambda x: torch.stack([x, x * 2], dim=2).flatten(1, 2),
    "permute": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2),
    "tokens": lambda x: x.flatten(2).transpose(1, 2).transpose(1, 2).reshape(x.shape),
    "matmul": lambda x: torch.matmul(torch.eye(8).flip(0), x.flatten(2)).view(x.shape),
    "einsum": lambda x: torch.einsum("nchw,dc->ndhw", x, torch.ones(5, 8)),
    "bmm": lambda x: torch.bmm(x.flatten(2), x.flatten(2).mT),
    "attention": attended,
    "index": lambda x: x[:, [0, 3, 5]][..., 1:-1, ::2] + x[:, 0, None, 1:-1, ::2],
    "masked": lambda x: torch.where(x > 0, x, x.new_zeros(1)) + x.masked_fill(x < 0, 1.0),
    "written": written,
    "roll and flip": lambda x: torch.roll(x, (1, 2), (2, 3)).flip(-1) + torch.flip(x, [1]),
    "expand": lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1).repeat(1, 2, 1, 1),
    "unfold": lambda x: F.unfold(x, 3, padding=1).view(x.shape[0], 72, *x.shape[2:]),
    "grid sample": lambda x: F.grid_sample(
        x, F.affine_grid(torch.eye(2, 3).repeat(2, 1, 1), list(x.shape), False), align_corners=False
    ),
    "pixel shuffle": lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
    "norms": lambda x: F.instance_norm(x) + F.group_norm(x, 4) + F.normalize(x),
    "local response": lambda x: F.local_response_norm(x, 3),
    "gate": lambda x: x * F.adaptive_avg_pool2d(x, 1).sigmoid() + x.mean((2, 3))[:, :, None, None],
    "squeeze": lambda x: x[:, :1].squeeze(1).unsqueeze(1) + x[:, :1].squeeze().view(2, 1, 12, 14),
    "glu": lambda x: F.glu(x, 1) + F.glu(x.transpose(1, -1)).transpose(1, -1).sum((1, 3), True),
    "top": lambda x: x.topk(3, 1).values + x.sort(1)[0][:, :3] + x.max(1, keepdim=True)[0],
    "reflect": lambda x: F.pad(x, (1, 2, 3, 4), "reflect") + F.pad(x, (1, 2, 3, 4), value=2.0),
    "iterate": lambda x: torch.stack([p * i for i, p in enumerate(x)]),
    "types": lambda x: x.double().to(x.dtype).type_as(x) + x.detach() * (x.dim() + len(x)),
    "resized": lambda x: F.interpolate(x, (7, 9), mode="bicubic", align_corners=False),
    "adaptive": lambda x: F.adaptive_max_pool2d(x, (3, 5)),
    "unpooled": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "spread": lambda x: x - x.std((2, 3), keepdim=True) - x.var((-2, -1), True, True),
    "ceil mode on a sliver": lambda x: F.max_pool2d(x[:, :, :2], 3, 2, ceil_mode=True),
    "stride-1 pools": lambda x: F.max_pool2d(x, 3, 1, 1) + F.avg_pool2d(x, 3, 1, 1),
}
STRIDING = {  # code that goes down and comes back
    "tutorial u-net": tail_padded,
    "size": lambda x: F.interpolate(F.avg_pool2d(x, 3, 2), size=x.shape[-2:], mode="nearest"),
    "upsample": lambda x: nn.Upsample(x.shape[2:], mode="bilinear")(F.max_pool2d(x, 3, 2, 1)) + x,
    "transposed": lambda x: (
        F.conv_transpose2d(F.max_pool2d(x, 2), torch.ones(8, 8, 2, 2), None, 2) + x
    ),
    "shuffled up": lambda x: F.pixel_shuffle(F.avg_pool2d(x.repeat(1, 4, 1, 1), 2), 2) + x,
    "ceil mode": lambda x: F.max_pool2d(F.max_pool2d(x, 2, ceil_mode=True), 2, ceil_mode=True),
}


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("name", [*KEEPING, *STRIDING])
def test_slices_stay_independent_without_fusion(name, depth):
    """Slicewise with depth kept is the 2D network on each slice, to rounding."""
    net = Program((KEEPING | STRIDING)[name])
    volume = torch.randn(2, 3, depth, 12, 14)
    out = thirdaxis.convert(net, "slicewise", depth_stride=False)(volume)
    slices = [net(volume[:, :, i]) for i in range(depth)]
    axis = 1 if slices[0].dim() == 3 else 2
    torch.testing.assert_close(out, torch.stack(slices, axis), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 4, 7])
@pytest.mark.parametrize("name", STRIDING)
def test_depth_comes_back(name, depth):
    """Identical slices give the 2D answer with depth strided, and as many slices as went in."""
    net = Program(STRIDING[name])
    picture = torch.randn(2, 3, 12, 14)
    volume = picture.unsqueeze(2).repeat(1, 1, depth, 1, 1)
    out = thirdaxis.convert(net, "slicewise")(volume)
    flat = net(picture)
    torch.testing.assert_close(out, flat.unsqueeze(2).expand_as(out), rtol=1e-4, atol=1e-5)
    shrunk = -(-depth // 4) if name == "ceil mode" else depth
    assert out.shape[2] == shrunk == thirdaxis.convert(net, "acs")(volume).shape[2]


def test_gradients_equal_those_of_the_slices():
    net = Program(lambda x: shuffled(F.relu(x, inplace=True)) * x.mean(1, keepdim=True))
    volume = torch.randn(2, 3, 4, 12, 14)
    lifted = thirdaxis.convert(net, "slicewise", depth_stride=False)
    lifted(volume).square().sum().backward()
    sum(net(volume[:, :, i]).square().sum() for i in range(4)).backward()
    torch.testing.assert_close(lifted.conv.weight.grad, net.conv.weight.grad, rtol=1e-4, atol=1e-4)


def test_dropout_of_channels_drops_them_in_every_slice():
    lifted = thirdaxis.convert(nn.Dropout2d(0.5)).train()
    out = lifted(torch.ones(4, 16, 3, 5, 5))
    per_channel = out.flatten(2)
    assert torch.equal(per_channel.amin(-1), per_channel.amax(-1))
    assert {0.0, 2.0} == set(per_channel.flatten().tolist())


def test_nested_outputs_keep_their_form():
    class Heads(nn.Module):
        def forward(self, x):
            return {"map": x, "pair": (x.mean((2, 3)), [x * 2])}, x.shape[2]

    out, size = thirdaxis.convert(Heads())(torch.ones(1, 2, 3, 4, 5))
    assert out["map"].shape == (1, 2, 3, 4, 5) and type(out["map"]) is torch.Tensor
    assert out["pair"][0].shape == (1, 2) and out["pair"][1][0].shape == (1, 2, 3, 4, 5)
    assert size == 4


def test_branches_of_unequal_depth_are_named():
    class Uneven(nn.Module):
        def forward(self, x):
            return x[..., ::2, ::2] + F.max_pool2d(x, 2)

    with pytest.raises(thirdaxis.ConversionError, match="4 and 8 slices meet.*depth_stride=False"):
        thirdaxis.convert(Uneven())(torch.ones(1, 1, 8, 8, 8))
    assert thirdaxis.convert(Uneven(), depth_stride=False)(torch.ones(1, 1, 8, 8, 8)).shape[2] == 8


def test_a_fault_of_the_2d_program_stays_its_own():
    net = Program(lambda x: x + torch.ones(1, 5, 1, 1))
    with pytest.raises(RuntimeError, match=r"tensor a \(8\) must match .* tensor b \(5\)"):
        thirdaxis.convert(net)(torch.ones(1, 3, 4, 8, 8))


def test_a_call_without_a_rule_is_named():
    class Counting(nn.Module):
        def forward(self, x):
            return x * torch.unique(x).numel()

    net = nn.Sequential(nn.Conv2d(1, 1, 1), Counting())
    with pytest.raises(thirdaxis.ConversionError, match="unique.* in '1'.*no rule"):
        thirdaxis.convert(net)(torch.ones(1, 1, 3, 4, 4))


def test_check_counts_and_judges():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, (1, 5)))
    found = thirdaxis.check(net, torch.randn(1, 1, 6, 16, 16))
    assert found.passed and found.conclusive and found.error < 1e-4
    assert (len(found.executed), found.lifted) == (2, 1)
    assert "2 1x5: stays 2D: the kernel is not square" in str(found)
    deaf = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Threshold(1e9, 1.0))
    silent = thirdaxis.check(deaf, torch.ones(2, 1, 8, 8))
    assert silent.passed and not silent.conclusive and "hardly reacts" in str(silent)


def test_check_catches_a_wrong_rule(monkeypatch):
    def upside_down(func, args, kwargs):
        x = args[0]
        return hide_volume_like(unfolded(x.movedim(0, 2).flatten(1, 2).flip(-1), x), x)

    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Hardswish(), nn.Conv2d(4, 1, 3))
    assert thirdaxis.check(net, torch.randn(2, 1, 9, 9)).passed
    monkeypatch.setitem(RULES, F.hardswish, upside_down)
    assert not thirdaxis.check(net, torch.randn(2, 1, 9, 9)).passed
    with pytest.raises(thirdaxis.ConversionError, match="self-check failed"):
        thirdaxis.convert(net, "acs", example=torch.randn(2, 1, 9, 9))


def test_report_counts_what_it_says():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1))
    told = thirdaxis.report(thirdaxis.convert(net, "i3d", in_channels=1), (2, 1, 4, 6, 5))
    assert told.parameters == 8 * 27 + 8 + 8 * 4 + 4
    assert told.macs == 2 * 4 * 6 * 5 * (8 * 27 + 8 * 4)
    assert told.lifted == len(told.executed) == 1
    assert "0 adapted by 'sum'" in str(told) and "1 of 1 spatial ones lifted" in str(told)
    small = thirdaxis.report(thirdaxis.convert(nn.Conv2d(1, 1, 9)), (1, 1, 4, 5, 5))
    assert "not run on 1 x 1 x 4 x 5 x 5: the volume is too small" in str(small)
