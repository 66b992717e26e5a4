"""Every operator of the table against an independent answer: dense conv3d, per-slice conv2d."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import thirdaxis
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.depth import convolve_slices, convolve_volume
from thirdaxis.fusion.planes import runs_of
from thirdaxis.fusion.table import FUSIONS, ON_CONVOLUTIONS

pytestmark = pytest.mark.usefixtures("double_precision")
TIGHT = dict(rtol=1e-9, atol=1e-10)


def planes_of(channels: int, groups: int) -> list[str]:
    """The plane of each output channel, written out."""
    per_group = channels // groups
    names = ["axial", "coronal", "sagittal"]
    if groups >= 3:
        sizes = [groups // 3 + (i < groups % 3) for i in range(3)]
        return [n for n, k in zip(names, sizes, strict=True) for _ in range(k * per_group)]
    sizes = [per_group // 3 + (i < per_group % 3) for i in range(3)]
    return [n for n, k in zip(names, sizes, strict=True) for _ in range(k)] * groups


def planted(kernel2d: torch.Tensor, plane: str, taps: slice) -> torch.Tensor:
    """A K x K kernel in K x K x K zeros, at ``taps`` of the axis that the plane leaves out."""
    side = kernel2d.shape[-1]
    dense = torch.zeros(*kernel2d.shape[:-2], side, side, side)
    if plane == "axial":
        dense[..., taps, :, :] = kernel2d.unsqueeze(-3)
    elif plane == "coronal":
        dense[..., :, taps, :] = kernel2d.unsqueeze(-2)
    else:
        dense[..., :, :, taps] = kernel2d.unsqueeze(-1)
    return dense


def flat_kernels(conv: nn.Conv2d, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """K x K x K kernels that hold the 2D ones in each plane, times (C_out,) weights."""
    centre = slice(conv.kernel_size[0] // 2, conv.kernel_size[0] // 2 + 1)
    kernel = 0
    for plane, weight in weights.items():
        kernel = kernel + planted(conv.weight, plane, centre) * weight.view(-1, 1, 1, 1, 1)
    return kernel


def shares(conv: nn.Conv2d) -> dict[str, torch.Tensor]:
    """For each plane, 1 at the output channels of ACS that look at it."""
    names = planes_of(conv.out_channels, conv.groups)
    return {p: torch.tensor([float(n == p) for n in names]) for p in VIEWS}


def thirds(conv: nn.Conv2d) -> dict[str, torch.Tensor]:
    return {p: torch.full((conv.out_channels,), 1 / 3) for p in VIEWS}


def repeated(conv: nn.Conv2d) -> torch.Tensor:
    side = conv.kernel_size[0]
    return torch.stack([conv.weight / side] * side, 2)


VIEWS = ("axial", "coronal", "sagittal")
# Operators that are a convolution by one kernel: the share of the 2D kernel that reads the slice
# itself, and the K x K x K kernel of the rest, that reads the window along depth.
PARTS = {
    "slicewise": lambda conv: (torch.ones(conv.out_channels), 0 * repeated(conv)),
    "i3d": lambda conv: (torch.zeros(conv.out_channels), repeated(conv)),
    "acs": lambda conv: in_planes(conv, shares(conv)),
    "mean_acs": lambda conv: in_planes(conv, thirds(conv)),
    "soft_acs": lambda conv: in_planes(conv, thirds(conv)),
}


def in_planes(conv: nn.Conv2d, weights: dict[str, torch.Tensor]):
    rest = {plane: weight for plane, weight in weights.items() if plane != "axial"}
    return weights["axial"], flat_kernels(conv, rest)


def dense(fusion: str, conv: nn.Conv2d) -> torch.Tensor:
    """The K x K x K kernel whose ordinary convolution a lifted layer must equal."""
    axial, rest = PARTS[fusion](conv)
    return flat_kernels(conv, {"axial": axial}) + rest


# Operators that are chains; `test_chains.py` writes each of them out.
CHAINS = {"p3d", "psc", "tsm", "alignshift", "a3d"}
# Operators of whole blocks; `test_blocks.py` turns the axes around blocks by hand.
ON_BLOCKS = {"planecycle", "flatten3d"}


def test_every_operator_has_an_answer_of_its_own():
    """An operator that is no convolution by a fixed kernel needs another answer, named here."""
    assert set(FUSIONS) == {*PARTS, *CHAINS, *ON_BLOCKS}


def assert_equals_dense(lifted: nn.Module, conv: nn.Conv2d, fusion: str, x: torch.Tensor) -> None:
    """A lifted convolution that pads by half its kernel equals the dense one in every voxel."""
    dilation, side = conv.dilation[0], conv.kernel_size[0]
    expected = F.conv3d(
        x,
        dense(fusion, conv),
        conv.bias,
        conv.stride[0],
        dilation * (side - 1) // 2,
        dilation,
        conv.groups,
    )
    torch.testing.assert_close(lifted(x), expected, **TIGHT)


CASES = list(itertools.product([1, 3, 5, 7], [1, 2, 3], [1, 2], [(8, 9, 10), (5, 12, 7)]))


@pytest.mark.parametrize("fusion", PARTS)
@pytest.mark.parametrize("groups", [(6, 7, 1), (4, 8, 2), (6, 12, 3), (5, 5, 5), (4, 8, 4)])
def test_equals_the_dense_convolution_where_padding_is_half_the_kernel(fusion, groups):
    into, out, count = groups
    for side, stride, dilation, size in CASES:
        half = dilation * (side - 1) // 2
        conv = nn.Conv2d(into, out, side, stride, half, dilation, count)
        lifted = thirdaxis.convert(conv, fusion)
        assert_equals_dense(lifted, conv, fusion, torch.randn(2, into, *size))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8])
def test_acs_splits_any_number_of_channels(channels):
    conv = nn.Conv2d(3, channels, 3, padding=1)
    assert_equals_dense(thirdaxis.convert(conv, "acs"), conv, "acs", torch.randn(1, 3, 6, 7, 8))
    runs = runs_of(channels)
    assert [r.stop - r.start for r in runs] == [-(-(channels - i) // 3) for i in range(3)]
    assert [r.start for r in runs][1:] == [r.stop for r in runs][:-1]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("fusion", PARTS)
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_modes_equal_conv3d(mode, fusion, stride):
    conv = nn.Conv2d(3, 7, 5, stride, 2, padding_mode=mode)
    answer = nn.Conv3d(3, 7, 5, stride, 2, padding_mode=mode)
    answer.weight.data, answer.bias.data = dense(fusion, conv).data, conv.bias.data
    x = torch.randn(2, 3, 6, 8, 7)
    torch.testing.assert_close(thirdaxis.convert(conv, fusion)(x), answer(x), **TIGHT)


@pytest.mark.parametrize("mode", ["reflect", "circular"])
def test_padding_modes_on_a_single_slice(mode):
    conv = nn.Conv2d(1, 3, 3, padding=1, padding_mode=mode)
    assert thirdaxis.convert(conv, "acs")(torch.randn(1, 1, 1, 6, 6)).shape == (1, 3, 1, 6, 6)


@pytest.mark.parametrize("fusion", PARTS)
@pytest.mark.parametrize("side", [2, 3, 4, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_named_same_padding(fusion, side, dilation):
    conv = nn.Conv2d(4, 6, side, padding="same", dilation=dilation)
    total = dilation * (side - 1)
    pads = [total // 2, total - total // 2]
    x = torch.randn(1, 4, 7, 8, 9)
    around = F.pad(x, pads * 3)
    axial, rest = PARTS[fusion](conv)
    if side % 2:
        expected = F.conv3d(around, dense(fusion, conv), conv.bias, dilation=dilation)
    else:  # an even kernel has no centre: axial kernels read the slice itself
        flat = per_slice(conv, x) - conv.bias.view(-1, 1, 1, 1)
        expected = F.conv3d(around, rest, conv.bias, dilation=dilation)
        expected = expected + axial.view(-1, 1, 1, 1) * flat
    torch.testing.assert_close(thirdaxis.convert(conv, fusion)(x), expected, **TIGHT)


def per_slice(conv: nn.Module, x: torch.Tensor, step: int = 1) -> torch.Tensor:
    """The 2D layer on slices 0, step, 2 * step, ..."""
    return torch.stack([conv(x[:, :, i]) for i in range(0, x.shape[2], step)], 2)


@pytest.mark.parametrize(
    "side,stride,padding",
    [
        (1, 2, 0),
        (2, 2, 0),
        (3, 1, 0),
        (3, 2, 0),
        (4, 2, 1),
        (4, 4, 0),
        (3, 1, 2),
        (7, 4, 2),
        (6, 3, 1),
    ],
)
@pytest.mark.parametrize("depth", [1, 2, 5, 8])
def test_the_depth_rule_written_out(side, stride, padding, depth):
    """Other paddings, even kernels: ceil(D / s) slices, windows centred on what they stand for."""
    conv = nn.Conv2d(2, 6, side, stride, padding)
    x = torch.randn(1, 2, depth, 16, 17)
    left = (side - 1) // 2 if 2 * padding == side - 1 else max(0, (side - stride) // 2)
    slices = -(-depth // stride)
    around = torch.zeros(1, 2, depth + 2 * side * stride, 16, 17)
    around[:, :, side * stride : side * stride + depth] = x
    for fusion in PARTS:
        lifted = thirdaxis.convert(conv, fusion)(x)
        assert lifted.shape[2] == slices
        axial, rest = PARTS[fusion](conv)
        for i in range(slices):
            start = side * stride + i * stride - left
            window = around[:, :, start : start + side]
            wide = F.conv3d(window, rest, conv.bias, (1, stride, stride), (0, padding, padding))
            flat = conv(x[:, :, i * stride]) - conv.bias.view(-1, 1, 1)
            expected = wide[:, :, 0] + axial.view(-1, 1, 1) * flat
            torch.testing.assert_close(lifted[:, :, i], expected, **TIGHT)


@pytest.mark.parametrize("depth_stride", [True, False])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_slicewise_is_conv2d_on_every_slice(depth_stride, stride, groups):
    conv = nn.Conv2d(4, 8, 3, stride, 1, groups=groups)
    x = torch.randn(2, 4, 7, 9, 8)
    lifted = thirdaxis.convert(conv, "slicewise", depth_stride=depth_stride)
    expected = per_slice(conv, x, stride if depth_stride else 1)
    torch.testing.assert_close(lifted(x), expected, **TIGHT)


@pytest.mark.parametrize("side", [3, 5, 7])
def test_i3d_keeps_the_mean(side):
    conv = nn.Conv2d(3, 4, side, padding=side // 2)
    picture = torch.randn(1, 3, 10, 11)
    out = thirdaxis.convert(conv, "i3d")(picture.unsqueeze(2).repeat(1, 1, 2 * side, 1, 1))
    inner = out[:, :, side // 2 : -(side // 2)]
    torch.testing.assert_close(inner, conv(picture).unsqueeze(2).expand_as(inner), **TIGHT)


@pytest.mark.parametrize("start", ["mean", "centre"])
@pytest.mark.parametrize("stride", [1, 2])
def test_i3d_keeps_one_parameter_of_three_dimensions(start, stride):
    conv = nn.Conv2d(3, 4, 3, stride, 1)
    lifted = thirdaxis.convert(conv, thirdaxis.I3D(start=start))
    assert lifted.weight.shape == (4, 3, 3, 3, 3)
    x = torch.randn(1, 3, 6, 7, 8)
    name = "i3d" if start == "mean" else "slicewise"
    assert_equals_dense(lifted, conv, name, x)


@pytest.mark.parametrize("side,stride,padding", [(2, 1, 0), (2, 2, 0), (4, 1, 1), (4, 2, 1)])
def test_i3d_from_the_centre_of_an_even_kernel(side, stride, padding):
    """The tap that reads the slice itself is the lower of the two in the middle."""
    conv, x = nn.Conv2d(3, 4, side, stride, padding), torch.randn(1, 3, 6, 8, 8)
    lifted = thirdaxis.convert(conv, thirdaxis.I3D(start="centre"))
    torch.testing.assert_close(lifted(x), per_slice(conv, x, stride), **TIGHT)


# What gives the 2D answer where all slices are alike, from its start on.
KEEPS_SLICES = [
    "slicewise",
    "i3d",
    "p3d",
    "acs",
    "mean_acs",
    "soft_acs",
    "tsm",
    "alignshift",
    "a3d",
]


def still(fusion: str, depth: int) -> Fusion:
    """An operator at the start where it does nothing yet, if it has one."""
    return thirdaxis.A3D(depth=depth, noise=0) if fusion == "a3d" else FUSIONS[fusion]()


@pytest.mark.parametrize("fusion", KEEPS_SLICES)
def test_a_constant_volume_gives_the_2d_response_inside(fusion, told):
    net = nn.Sequential(nn.Conv2d(9, 10, 3, padding=1), nn.ReLU(), nn.Conv2d(10, 4, 5, padding=2))
    volume = torch.full((1, 9, 15, 15, 15), 0.7)
    inside = thirdaxis.convert(net, still(fusion, 15))(volume, **told(fusion, volume))[..., 7, 7, 7]
    torch.testing.assert_close(inside, net(volume[:, :, 0])[..., 7, 7], **TIGHT)


UP = [(2, 2, 0, 0), (3, 2, 1, 1), (4, 2, 1, 0), (3, 1, 1, 0), (4, 4, 0, 0)]


@pytest.mark.parametrize("side,stride,padding,extra", UP)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("fusion", ["acs", "mean_acs", "soft_acs"])
def test_acs_transposed_equals_the_dense_one(fusion, side, stride, padding, extra, groups):
    """Dense kernel: the plane repeated over as many taps of the axis left out as the stride."""
    conv = nn.ConvTranspose2d(4, 8, side, stride, padding, extra, groups)
    x = torch.randn(2, 4, 3, 5, 4)
    first = padding if 2 * padding == side - 1 else max(0, (side - stride) // 2)
    lifted = thirdaxis.convert(conv, fusion)
    names = planes_of(8, groups)
    weights = torch.tensor([[float(name == plane) for plane in VIEWS] for name in names])
    if fusion == "mean_acs":
        weights = torch.full((8, 3), 1 / 3)
    elif fusion == "soft_acs":
        weights = lifted.fusion.logits.data.normal_().exp()
        weights = weights / weights.sum(1, keepdim=True)
    kernel = torch.zeros(4, 8 // groups, side, side, side)
    for i, (row, column) in enumerate((g, c) for g in range(groups) for c in range(8 // groups)):
        rows = slice(row * 4 // groups, (row + 1) * 4 // groups)
        taps = slice(first, first + stride)
        for plane, weight in zip(VIEWS, weights[i], strict=True):
            kernel[rows, column] += weight * planted(conv.weight[rows, column], plane, taps)
    expected = F.conv_transpose3d(x, kernel, conv.bias, stride, padding, extra, groups)
    torch.testing.assert_close(lifted(x), expected, **TIGHT)


@pytest.mark.parametrize("side,stride,padding,extra", UP)
@pytest.mark.parametrize("fusion", [f for f in KEEPS_SLICES if f not in {"mean_acs", "soft_acs"}])
def test_transposed_convolutions_of_identical_slices(side, stride, padding, extra, fusion, told):
    conv = nn.ConvTranspose2d(9, 6, side, stride, padding, extra)
    picture = torch.randn(1, 9, 5, 4)
    volume = picture.unsqueeze(2).repeat(1, 1, 6, 1, 1)
    out = thirdaxis.convert(conv, still(fusion, 6))(volume, **told(fusion, volume))
    assert out.shape[2] == 6 * stride
    flat = conv(picture)
    assert out.shape[-2:] == flat.shape[-2:]
    channels = [0, 1] if fusion == "acs" else list(range(6))
    middle = out[:, channels, 3 * stride]
    torch.testing.assert_close(middle, flat[:, channels], **TIGHT)


@pytest.mark.parametrize("side,stride,padding,extra", UP)
@pytest.mark.parametrize("dilation", [1, 2])
def test_transposed_i3d_written_out(side, stride, padding, extra, dilation):
    """Slices are repeated, then every tap along depth is a transposed convolution of a slice."""
    conv = nn.ConvTranspose2d(3, 2, side, stride, padding, extra, dilation=dilation)
    lifted, x = thirdaxis.convert(conv, "i3d"), torch.randn(1, 3, 4, 5, 4)
    lifted.weight.data.normal_()
    repeated, middle = x.repeat_interleave(stride, 2), dilation * (side - 1) // 2
    for i, out in enumerate(lifted(x).unbind(2)):
        expected = conv.bias.view(-1, 1, 1)
        for tap in range(side):
            source = i + middle - dilation * tap
            if 0 <= source < repeated.shape[2]:
                kernel = lifted.weight[:, :, tap]
                sizes = stride, padding, extra, 1, dilation
                one = F.conv_transpose2d(repeated[:, :, source], kernel, None, *sizes)
                expected = expected + one
        torch.testing.assert_close(out, expected, **TIGHT)


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
@pytest.mark.parametrize("kernel", [(1, 7), (7, 1), (3, 5)])
def test_non_square_kernels_stay_axial(fusion, kernel, told):
    """Shifts and A3D turn no kernel; of two channels an eighth is none."""
    conv = nn.Conv2d(2, 6, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
    x = torch.randn(1, 2, 4, 9, 9)
    lifted = thirdaxis.convert(conv, still(fusion, 4))
    torch.testing.assert_close(lifted(x, **told(fusion, x)), per_slice(conv, x), **TIGHT)
    assert "not square" in str(thirdaxis.report(thirdaxis.convert(conv, "acs")))


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_gradients_reach_every_parameter_and_the_input(fusion, kind, operator, told):
    lifted = thirdaxis.convert(kind(4, 7, 3, 2, 1), operator(fusion, 3))
    x = torch.randn(1, 4, 3, 4, 5, requires_grad=True)
    given, names = told(fusion, x), [name for name, _ in lifted.named_parameters()]
    found = {name for name in names if name.startswith("fusion.")}
    assert bool(found) == FUSIONS[fusion].owns_parameters

    def by_parameters(x, *values):
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(lifted, state, (x,), given)

    values = [p.detach().requires_grad_() for p in lifted.parameters()]
    assert torch.autograd.gradcheck(by_parameters, (x, *values), fast_mode=True)
    lifted(x, **given).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in lifted.parameters())


class UndividedI3D(Fusion):
    """A wrong operator: repeated along depth, not divided."""

    name = "undivided"

    def convolve(self, x, weight, bias, geometry):
        repeated = weight.unsqueeze(2).repeat(1, 1, weight.shape[-1], 1, 1)
        return convolve_volume(x, repeated, bias, geometry)

    convolve_transposed = convolve


class LateSlices(Fusion):
    """A wrong operator: every slice answers for its neighbour."""

    name = "late"

    def convolve(self, x, weight, bias, geometry):
        return convolve_slices(x.roll(1, 2), weight, bias, geometry)

    convolve_transposed = convolve


# The planes in the order of the paper's text, not of its code, are a wrong operator too.
TURNED = thirdaxis.ACS(planes=("sagittal", "coronal", "axial"))


@pytest.mark.parametrize(
    "wrong,name",
    [
        (TURNED, "acs"),
        (UndividedI3D(), "i3d"),
        (LateSlices(), "slicewise"),
        (thirdaxis.ACS(), "mean_acs"),
        (thirdaxis.ACS(), "soft_acs"),
    ],
)
def test_a_wrong_operator_is_caught(wrong, name):
    conv = nn.Conv2d(3, 6, 3, padding=1)
    with pytest.raises(AssertionError, match="not close"):
        assert_equals_dense(thirdaxis.convert(conv, wrong), conv, name, torch.randn(1, 3, 6, 7, 8))
