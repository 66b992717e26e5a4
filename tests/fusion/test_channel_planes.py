"""ACS with a plane for every output channel: against dense convolutions, and who gets which."""

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import thirdaxis
from thirdaxis.fusion.channel_planes import planes_by_kernel

pytestmark = pytest.mark.usefixtures("double_precision")
TIGHT = dict(rtol=1e-9, atol=1e-10)
KERNEL = thirdaxis.ACS(assign="kernel")
LEARNED = thirdaxis.ACS(assign="learned")
VIEWS = ("axial", "coronal", "sagittal")


def with_planes(conv: nn.Module, planes: torch.Tensor) -> nn.Module:
    lifted = thirdaxis.convert(conv, LEARNED)
    lifted.fusion.assign(planes)
    return lifted


def some_planes(channels: int, groups: int, seed: int) -> torch.Tensor:
    """Any planes, of whole groups from three on; there need not be one of each."""
    random = torch.Generator().manual_seed(seed)
    units = groups if groups >= 3 else channels
    return torch.randint(3, (units,), generator=random).repeat_interleave(channels // units)


def embedded(kernel: torch.Tensor, plane: int, taps: slice) -> torch.Tensor:
    """(..., K, K) in (..., K, K, K) zeros, at ``taps`` of the axis that the plane leaves out."""
    side = kernel.shape[-1]
    dense = torch.zeros(*kernel.shape[:-2], side, side, side)
    dense.movedim(-3 + plane, 0)[taps] = kernel
    return dense


SIZES = dict(
    groups=st.sampled_from([(3, 7, 1), (4, 8, 2), (6, 12, 3), (8, 8, 4), (5, 5, 5)]),
    stride=st.integers(1, 3),
    seed=st.integers(0, 999),
)


@settings(max_examples=60)
@given(side=st.sampled_from([3, 5]), dilation=st.integers(1, 2), depth=st.integers(1, 7), **SIZES)
def test_equals_the_dense_convolution(side, dilation, depth, groups, stride, seed):
    into, out, count = groups
    half = dilation * (side - 1) // 2
    conv = nn.Conv2d(into, out, side, stride, half, dilation, count)
    planes, middle = some_planes(out, count, seed), slice(side // 2, side // 2 + 1)
    pairs = zip(conv.weight, planes, strict=True)
    dense = torch.stack([embedded(kernel, int(plane), middle) for kernel, plane in pairs])
    x = torch.randn(2, into, depth, 8, 9)
    expected = F.conv3d(x, dense, conv.bias, stride, half, dilation, count)
    torch.testing.assert_close(with_planes(conv, planes)(x), expected, **TIGHT)


@settings(max_examples=40)
@given(shape=st.sampled_from([(2, 2, 0, 0), (3, 2, 1, 1), (4, 2, 1, 0), (3, 1, 1, 0)]), **SIZES)
def test_transposed_equals_the_dense_one(shape, groups, stride, seed):
    into, out, count = groups
    side, stride, padding, extra = shape
    conv = nn.ConvTranspose2d(into, out, side, stride, padding, extra, count)
    planes, rows, columns = some_planes(out, count, seed), into // count, out // count
    first = padding if 2 * padding == side - 1 else max(0, (side - stride) // 2)
    dense = torch.zeros(into, columns, side, side, side)
    for row, column in np.ndindex(into, columns):
        plane = int(planes[row // rows * columns + column])
        taps = slice(first, first + stride)
        dense[row, column] = embedded(conv.weight[row, column], plane, taps)
    x = torch.randn(2, into, 3, 5, 4)
    expected = F.conv_transpose3d(x, dense, conv.bias, stride, padding, extra, count)
    torch.testing.assert_close(with_planes(conv, planes)(x), expected, **TIGHT)


@given(side=st.integers(2, 4), padding=st.integers(0, 2), transposed=st.booleans(), **SIZES)
def test_each_channel_is_that_of_acs_in_its_plane(side, padding, transposed, groups, stride, seed):
    into, out, count = groups
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    conv = kind(into, out, side, stride, padding, groups=count)
    planes, x = some_planes(out, count, seed), torch.randn(1, into, 4, 9, 8)
    found = with_planes(conv, planes)(x)
    for view, name in enumerate(VIEWS):
        alone = thirdaxis.convert(conv, thirdaxis.ACS(planes=(name,) * 3))(x)
        torch.testing.assert_close(found[:, planes == view], alone[:, planes == view], **TIGHT)
    in_order = thirdaxis.convert(conv, LEARNED)(x)
    torch.testing.assert_close(in_order, thirdaxis.convert(conv, "acs")(x), **TIGHT)


def by_hand(kernels: np.ndarray, counts: tuple[int, int, int]) -> list[int]:
    """The criterion in words: eight copies, two kinds of variation, ranks."""
    left, lean = [], []
    for kernel in kernels:  # (M, K, K)
        turned = [np.rot90(kernel, n, (1, 2)) for n in range(4)]
        copies = turned + [np.flip(copy, 1) for copy in turned]
        left.append(np.mean(copies, 0).__pow__(2).sum() / (kernel**2).sum())
        columns = sum(np.var(row) for channel in kernel for row in channel)
        rows = sum(np.var(column) for channel in kernel for column in channel.T)
        lean.append((columns - rows) / (columns + rows))
    ranks = sorted(range(len(kernels)), key=lambda i: left[i])
    rest = sorted(ranks[counts[0] :], key=lambda i: -lean[i])
    found = [0] * len(kernels)
    for i in rest[: counts[1]]:
        found[i] = 1
    for i in rest[counts[1] :]:
        found[i] = 2
    return found


@given(
    channels=st.integers(1, 12), inputs=st.integers(1, 3), side=st.integers(2, 7), data=st.data()
)
def test_the_criterion_in_words(channels, inputs, side, data):
    kernels = torch.randn(channels, inputs, side, side)
    first = data.draw(st.integers(0, channels))
    second = data.draw(st.integers(0, channels - first))
    counts = (first, second, channels - first - second)
    assert planes_by_kernel(kernels, counts).tolist() == by_hand(kernels.numpy(), counts)


def test_the_criterion_on_kernels_that_say_what_they_are():
    blob = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    corner = torch.tensor([[9.0, 3, 0], [3, 0, 0], [0, 0, 0]])
    edge = torch.tensor([[-1.0, 0, 1]] * 3)  # from column to column: stays across under coronal
    across, down = blob + 0.5 * edge, blob + 0.5 * edge.T
    kernels = torch.stack([down, across, corner, blob]).unsqueeze(1)
    assert planes_by_kernel(kernels, (1, 1, 2)).tolist() == [2, 1, 0, 2]
    assert planes_by_kernel(kernels, (2, 1, 1)).tolist() in ([0, 1, 0, 2], [2, 0, 0, 1])
    alike = blob.repeat(7, 2, 1, 1)
    assert planes_by_kernel(alike, (3, 2, 2)).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert planes_by_kernel(0 * alike, (3, 2, 2)).tolist() == [0, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [(4, 8, 1), (6, 14, 2), (6, 18, 3), (7, 7, 7)])
@pytest.mark.parametrize("split", [(1, 1, 1), (2, 1, 1)])
def test_planes_are_shared_out_as_acs_does(kind, groups, split):
    """As many of each plane, from the kernels of each group or of whole groups."""
    into, out, count = groups
    conv = kind(into, out, 3, groups=count)
    fusion = thirdaxis.ACS(split=split, assign="kernel")
    found = thirdaxis.convert(conv, fusion).fusion
    in_order = thirdaxis.convert(conv, thirdaxis.ACS(split=split, assign="learned")).fusion
    planes = found.planes.view(count, -1)
    kernels = conv.weight.detach()
    if kind is nn.ConvTranspose2d:  # (in, out of a group) to (out, in of a group), group by group
        kernels = torch.cat([part.transpose(0, 1) for part in kernels.chunk(count)])
    kernels = kernels.unflatten(0, (count, -1)).numpy()
    if count >= 3:
        number = in_order.planes.view(count, -1)[:, 0].long().bincount(minlength=3).tolist()
        joined = kernels.reshape(count, -1, 3, 3)
        assert planes[:, 0].tolist() == by_hand(joined, tuple(number))
        assert torch.equal(planes, planes[:, :1].expand_as(planes))
    else:
        for group in range(count):
            mine = in_order.planes.view(count, -1)[group]
            number = mine.long().bincount(minlength=3).tolist()
            assert planes[group].tolist() == by_hand(kernels[group], tuple(number))


class Net(nn.Module):
    """Convolutions of several kinds, one of them 1 x 1."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, padding=1)
        self.body = nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.Conv2d(8, 9, 1))
        self.up = nn.ConvTranspose2d(9, 6, 2, 2)

    def forward(self, x):
        return self.up(self.body(self.stem(x)))


def test_checkpoints_carry_the_planes():
    first, second, x = Net(), Net(), torch.randn(1, 2, 5, 8, 8)
    lifted = thirdaxis.convert(first, KERNEL)
    added = set(lifted.state_dict()) - set(first.state_dict())
    assert added == {f"{name}.fusion.planes" for name in ("stem", "body.1", "up")}
    assert dict(lifted.named_parameters()).keys() == dict(first.named_parameters()).keys()

    other = thirdaxis.convert(second, KERNEL)
    assert not torch.allclose(other(x), lifted(x))
    other.load_state_dict(first.state_dict())  # a 2D checkpoint: its kernels are judged
    torch.testing.assert_close(other(x), lifted(x), rtol=0, atol=0)

    for parameter in lifted.parameters():  # trained, they would be judged otherwise
        parameter.data.normal_()
    torch.testing.assert_close(lifted.stem.fusion.planes, other.stem.fusion.planes)
    assert not torch.equal(
        lifted.stem.fusion.planes, thirdaxis.convert(lifted_2d(lifted), KERNEL).stem.fusion.planes
    )
    third = thirdaxis.convert(second, KERNEL)
    third.load_state_dict(lifted.state_dict())
    for twin in (third, copy.deepcopy(lifted), pickle.loads(pickle.dumps(lifted))):
        torch.testing.assert_close(twin(x), lifted(x), rtol=0, atol=0)

    with pytest.raises(RuntimeError, match=r"Missing key.*stem\.fusion\.planes"):
        thirdaxis.convert(first, LEARNED).load_state_dict(first.state_dict())
    wrong = lifted.state_dict() | {"body.1.fusion.planes": torch.full((8,), 3)}
    with pytest.raises(RuntimeError, match=r"body.1.fusion.planes takes \(8,\) of 0 axial"):
        third.load_state_dict(wrong)
    grouped = thirdaxis.convert(nn.Conv2d(6, 6, 3, groups=3), LEARNED)
    with pytest.raises(ValueError, match="channels of one of 3 groups share a plane"):
        grouped.fusion.assign(torch.tensor([0, 1, 2, 2, 1, 1]))


def lifted_2d(lifted: nn.Module) -> nn.Module:
    """The 2D network with the weights of a converted one."""
    flat = Net()
    flat.load_state_dict({k: v for k, v in lifted.state_dict().items() if "fusion" not in k})
    return flat


def test_a_network_without_numbers_gets_its_planes_with_them():
    with torch.device("meta"):
        empty = Net()
    lifted, full, x = thirdaxis.convert(empty, KERNEL), Net(), torch.randn(1, 2, 5, 8, 8)
    lifted.load_state_dict(full.state_dict(), assign=True)
    torch.testing.assert_close(lifted(x), thirdaxis.convert(full, KERNEL)(x), rtol=0, atol=0)


def test_it_costs_what_acs_costs():
    plain, chosen = (thirdaxis.report(thirdaxis.convert(Net(), f)) for f in ("acs", KERNEL))
    assert chosen.macs == plain.macs > 0 and chosen.parameters == plain.parameters
    assert chosen.lifted == plain.lifted == 3 and chosen.own_parameters == 0
    assert "ACS(assign='kernel')" in str(chosen)


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_gradients(kind, groups):
    lifted = with_planes(kind(6, 12, 3, 2, 1, groups=groups), some_planes(12, groups, 5))
    x = torch.randn(1, 6, 3, 4, 5, requires_grad=True)
    names, values = zip(*lifted.named_parameters(), strict=True)

    def by_parameters(x, *values):
        return torch.func.functional_call(lifted, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(by_parameters, (x, *values), fast_mode=True)


def test_compiled_and_exported(tmp_path):
    torch.set_default_dtype(torch.float32)
    net, x = thirdaxis.convert(Net(), KERNEL).eval(), torch.randn(1, 2, 5, 8, 8)
    torch.testing.assert_close(torch.compile(net, fullgraph=True, backend="aot_eager")(x), net(x))
    flat = Net()
    down = thirdaxis.convert(nn.Sequential(flat.stem, flat.body), KERNEL).eval()
    thirdaxis.export(down, x, tmp_path / "net.onnx")  # which compares it at three sizes


def hardened(logits: dict[str, torch.Tensor]) -> tuple[nn.Module, nn.Module]:
    soft = thirdaxis.convert(Net(), "slicewise", overrides={"*": "soft_acs"})
    for name, numbers in logits.items():
        soft.get_submodule(name).fusion.logits.data = numbers
    return soft, thirdaxis.harden(soft)


def test_harden_keeps_the_answer_where_every_channel_has_decided():
    planes = {"stem": some_planes(8, 1, 0), "body.1": some_planes(8, 8, 1)}
    planes["up"] = some_planes(6, 1, 2)
    logits = {name: 1000 * F.one_hot(p, 3).double() for name, p in planes.items()}
    soft, hard = hardened(logits)
    x, before = torch.randn(2, 2, 5, 8, 8), copy.deepcopy(soft.state_dict())
    torch.testing.assert_close(hard(x), soft(x), **TIGHT)
    assert thirdaxis.report(hard).macs < thirdaxis.report(soft).macs
    assert "stem: ACS(assign='learned')" in str(thirdaxis.report(hard))
    for name, p in planes.items():
        assert torch.equal(hard.get_submodule(name).fusion.planes.long(), p)
        part = torch.randn(1, hard.get_submodule(name).in_channels, 4, 4, 4)
        assert hard.get_submodule(name)(part).dim() == 5
    again = thirdaxis.convert(Net(), "slicewise", overrides={"*": LEARNED})
    again.load_state_dict(hard.state_dict())
    torch.testing.assert_close(again(x), hard(x), rtol=0, atol=0)
    hard(x).sum().backward()
    assert all(p.grad is not None for p in hard.parameters())
    for key, value in soft.state_dict().items():
        assert torch.equal(value, before[key])


def test_harden_takes_the_larger_weight_and_acs_where_there_is_none():
    soft, hard = hardened({"stem": torch.tensor([[0.2, 0.1, 0.0], [0.0, 0.1, 0.3]] * 4)})
    assert hard.stem.fusion.planes.tolist() == [0, 2] * 4
    assert hard.up.fusion.planes.tolist() == [0, 0, 1, 1, 2, 2]
    together = thirdaxis.convert(nn.Conv2d(3, 6, 3, groups=3), "soft_acs")
    pulls = [[9, 0, 0], [0, 1, 0], [0, 2, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]
    together.fusion.logits.data = torch.tensor(pulls).double()
    assert thirdaxis.harden(together).fusion.planes.tolist() == [0, 0, 1, 1, 2, 2]
    flat = thirdaxis.convert(Net(), "soft_acs")
    x = torch.randn(1, 2, 5, 8, 8)
    plain = thirdaxis.convert(Net(), "acs")
    plain.load_state_dict({k: v for k, v in flat.state_dict().items() if "fusion" not in k})
    torch.testing.assert_close(thirdaxis.harden(flat)(x), plain(x), **TIGHT)
    assert str(thirdaxis.report(thirdaxis.harden(flat))).startswith("fusion:       ACS(assign='l")
    for refused in (plain, Net()):
        with pytest.raises(thirdaxis.UsageError, match="none of its convolutions has weights"):
            thirdaxis.harden(refused)


def test_an_unknown_assignment_is_refused():
    with pytest.raises(thirdaxis.UsageError, match="did you mean 'kernel'"):
        thirdaxis.ACS(assign="kernels")
