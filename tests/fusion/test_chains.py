"""Operators that are chains of steps, against each step written out slice by slice."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import thirdaxis
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.table import FUSIONS, ON_CONVOLUTIONS

pytestmark = pytest.mark.usefixtures("double_precision")
TIGHT = dict(rtol=1e-9, atol=1e-10)


def disturbed(lifted: nn.Module) -> nn.Module:
    """The same with random numbers for what operators learn, which may start as the identity."""
    for name, parameter in lifted.named_parameters():
        if ".fusion." in f".{name}":
            parameter.data.normal_()
    return lifted


def by_slice(conv: nn.Module, x: torch.Tensor, step: int) -> torch.Tensor:
    """Slices 0, step, 2 * step, ...; each ``step`` times where the convolution is transposed."""
    read = range(0, x.shape[2], step)
    if isinstance(conv, nn.ConvTranspose2d):
        read = [i // step for i in range(x.shape[2] * step)]
    return torch.stack([conv(x[:, :, i]) for i in read], 2)


def shifted(x: torch.Tensor, count: int, shares: list[float], border: str) -> torch.Tensor:
    """Channel by channel and slice by slice; ``border`` says what lies beyond the ends."""
    out, depth = x.clone(), x.shape[2]
    for n, share in enumerate(shares):
        for channel, i in itertools.product(range(2 * count), range(depth)):
            neighbour = i + 1 if channel < count else i - 1
            if 0 <= neighbour < depth:
                other = x[n, channel, neighbour]
            else:
                other = 0 if border == "zero" else x[n, channel, i]
            out[n, channel, i] = share * other + (1 - share) * x[n, channel, i]
    return out


def tsm(lifted, conv, x, step):
    return by_slice(conv, shifted(x, x.shape[1] // 8, [1.0] * len(x), "zero"), step)


THICKNESS = [1.0, 5.0]


def alignshift(lifted, conv, x, step):
    shares = [min(1.0, 2.0 / mm) for mm in THICKNESS[: len(x)]]
    return by_slice(conv, shifted(x, x.shape[1] // 8, shares, "keep"), step)


def a3d(lifted, conv, x, step):
    mix, depth = lifted.fusion.mix, x.shape[2]
    assert mix.shape == (depth, depth, x.shape[1])
    mixed = torch.zeros_like(x)
    for d, k in itertools.product(range(depth), range(depth)):
        mixed[:, :, k] += mix[d, k].view(-1, 1, 1) * x[:, :, d]
    return by_slice(conv, mixed, step)


def p3d(lifted, conv, x, step):
    along, dilation = lifted.fusion.along, conv.dilation[0]
    transposed = isinstance(conv, nn.ConvTranspose2d)
    planes, step = by_slice(conv, x, step if transposed else 1), 1 if transposed else step
    size, taps, depth = along.shape[1], along.shape[2], planes.shape[2]
    slices = []
    for i in range(0, depth, step):
        total = torch.zeros_like(planes[:, :, 0])
        for t in range(taps):
            source = i + dilation * (t - (taps - 1) // 2)
            if not 0 <= source < depth:
                continue
            for o in range(along.shape[0]):
                group = o // size
                read = planes[:, group * size : (group + 1) * size, source]
                total[:, o] += (along[o, :, t].view(-1, 1, 1) * read).sum(1)
        slices.append(total)
    return torch.stack(slices, 2)


def psc(lifted, conv, x, step):
    """Three streams of two dense convolutions; groups: each group of one or two, or whole ones."""
    side, dilation, groups = conv.kernel_size[0], conv.dilation[0], conv.groups
    pad, per_group = dilation * (side - 1) // 2, conv.out_channels // conv.groups
    size, width = x.shape[1] // groups, lifted.fusion.across.shape[1]
    planes, outputs, row = lifted.weight, [], 0
    for group in range(groups):
        read = x[:, group * size : (group + 1) * size]
        if groups >= 3:
            ends = [0, *itertools.accumulate(groups // 3 + (i < groups % 3) for i in range(3))]
            streams = [(i, per_group) for i in range(3) if ends[i] <= group < ends[i + 1]]
        else:
            streams = [(i, per_group // 3 + (i < per_group % 3)) for i in range(3)]
        for axis, count in streams:
            if count == 0:
                continue
            flat = [1 if i == axis else side for i in range(3)]
            line = [side if i == axis else 1 for i in range(3)]
            strides = [[step, conv.stride[0], conv.stride[1]][i] for i in range(3)]
            kernel = planes[row : row + width].unsqueeze(2 + axis)
            assert list(kernel.shape[2:]) == flat
            middle = F.conv3d(
                read,
                kernel,
                None,
                [1 if i == axis else strides[i] for i in range(3)],
                [0 if i == axis else pad for i in range(3)],
                dilation,
            ).relu()
            first = sum(part.shape[1] for part in outputs)
            taps = lifted.fusion.across[first : first + count].reshape(count, width, *line)
            outputs.append(
                F.conv3d(
                    middle,
                    taps,
                    None,
                    [strides[i] if i == axis else 1 for i in range(3)],
                    [pad if i == axis else 0 for i in range(3)],
                    dilation,
                )
            )
            row += width
    assert row == planes.shape[0]
    return torch.cat(outputs, 1) + conv.bias.view(-1, 1, 1, 1)


ANSWERS = {"tsm": tsm, "alignshift": alignshift, "a3d": a3d, "p3d": p3d, "psc": psc}


def assert_chain(name: str, fusion: Fusion, conv: nn.Module, x: torch.Tensor, stride: int) -> None:
    """A lifted convolution equals its chain written out."""
    lifted = disturbed(thirdaxis.convert(conv, fusion))
    told = {"thickness": torch.tensor(THICKNESS[: len(x)])} if name == "alignshift" else {}
    expected = ANSWERS[name](lifted, conv, x, stride)
    torch.testing.assert_close(lifted(x, **told), expected, **TIGHT)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("groups", [(16, 7, 1), (16, 8, 2), (24, 12, 3), (18, 18, 18)])
@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_chain_written_out(name, groups, side, stride, operator):
    into, out, count = groups
    for dilation, depth in itertools.product([1, 2], [1, 2, 5]):
        if side == 1 and name not in {"tsm", "alignshift"}:
            continue
        half = dilation * (side - 1) // 2
        conv = nn.Conv2d(into, out, side, stride, half, dilation, count)
        if side == 1:
            fusion = FUSIONS[name](pointwise=True)
        else:
            fusion = operator(name, depth)
        assert_chain(name, fusion, conv, torch.randn(2, into, depth, 7, 6), stride)


@pytest.mark.parametrize("name", ["tsm", "alignshift", "a3d", "p3d"])
@pytest.mark.parametrize("groups", [(16, 7, 1), (16, 8, 2), (18, 18, 18)])
@pytest.mark.parametrize("shape", [(2, 2, 0), (3, 2, 1), (4, 2, 1), (3, 1, 1)])
def test_every_transposed_chain_written_out(name, groups, shape, operator):
    into, out, count = groups
    conv = nn.ConvTranspose2d(into, out, *shape, groups=count)
    assert_chain(name, operator(name, 4), conv, torch.randn(2, into, 4, 4, 5), shape[1])


def test_pointwise_convolutions_take_part_where_the_settings_say_so():
    conv, x = nn.Conv2d(8, 5, 1), torch.randn(2, 8, 4, 3, 3)
    for name in ("a3d", "p3d", "tsm", "alignshift"):
        extra = {"depth": 4} if name == "a3d" else {}
        told = {"thickness": torch.tensor([1.0, 2.0])} if name == "alignshift" else {}
        without = thirdaxis.convert(conv, FUSIONS[name](**extra))
        torch.testing.assert_close(without(x, **told), by_slice(conv, x, 1), **TIGHT)
        assert list(without.state_dict()) == ["weight", "bias"]
        assert_chain(name, FUSIONS[name](pointwise=True, **extra), conv, x, 1)
    assert thirdaxis.convert(conv, thirdaxis.P3D(pointwise=True)).fusion.along.shape == (5, 5, 3)


@pytest.mark.parametrize("name", ["tsm", "alignshift", "a3d"])
def test_what_turns_no_kernel_takes_kernels_of_any_sides(name, operator):
    conv, x = nn.Conv2d(8, 4, (1, 7), padding=(0, 3)), torch.randn(2, 8, 4, 5, 9)
    assert_chain(name, operator(name, 4), conv, x, 1)


def test_fixed_points():
    """Where an operator does nothing yet, or what another one does."""
    conv, x = nn.Conv2d(16, 6, 3, 2, 1), torch.randn(2, 16, 6, 8, 7)
    lift = thirdaxis.convert
    flat, mean = lift(conv, "slicewise")(x), lift(conv, "mean_acs")(x)
    tsm, two = lift(conv, "tsm")(x), torch.full((2,), 2.0)

    def same(found, expected):
        torch.testing.assert_close(found, expected, **TIGHT)

    zero, keep = thirdaxis.AlignShift(border="zero"), thirdaxis.AlignShift()
    same(lift(conv, zero)(x, thickness=two), tsm)
    same(lift(conv, zero)(x, thickness=two / 2), tsm)
    for unknown in (torch.nan, 0.0, -5.0, torch.inf):
        same(lift(conv, zero)(x, thickness=torch.full((2,), unknown)), flat)
        same(lift(conv, keep)(x, thickness=torch.full((2,), unknown)), flat)
    thick = lift(conv, zero)(x, thickness=torch.tensor([2.0, torch.nan]))
    same(thick, torch.stack([tsm[0], flat[1]]))
    same(lift(conv, thirdaxis.TSM(fraction=0))(x), flat)
    same(lift(conv, thirdaxis.AlignShift(fraction=0))(x, thickness=two), flat)
    same(
        lift(conv, thirdaxis.AlignShift(reference=5.0))(x, thickness=2.5 * two)[:, :, 1:-1],
        lift(conv, keep)(x, thickness=two)[:, :, 1:-1],
    )
    same(lift(conv, thirdaxis.A3D(depth=6, noise=0))(x), flat)
    same(lift(conv, "p3d")(x), flat)
    same(lift(conv, thirdaxis.I3D(start="centre"))(x), flat)
    soft = lift(conv, "soft_acs")
    same(soft(x), mean)
    for view, plane in enumerate(("axial", "coronal", "sagittal")):
        soft.fusion.logits.data = torch.full((6, 3), -1000.0)
        soft.fusion.logits.data[:, view] = 0
        alone = [0, 0, 0]
        alone[view] = 1
        same(soft(x), lift(conv, thirdaxis.ACS(split=tuple(alone)))(x))
        same(soft(x), lift(conv, thirdaxis.ACS(planes=(plane,) * 3))(x))
    soft.fusion.logits.data = torch.randn(6, 3)
    planes = [
        lift(conv, thirdaxis.ACS(planes=(p,) * 3))(x) for p in ("axial", "coronal", "sagittal")
    ]
    bias = conv.bias.view(-1, 1, 1, 1)
    weights = soft.fusion.logits.softmax(1).T.reshape(3, -1, 1, 1, 1)
    same(soft(x), sum(w * (out - bias) for w, out in zip(weights, planes, strict=True)) + bias)


def test_the_end_slices_of_both_borders():
    conv, x = nn.Conv2d(8, 4, 3, padding=1), torch.randn(1, 8, 3, 5, 5)
    four = torch.tensor([4.0])  # half a slice
    for border in ("keep", "zero"):
        found = thirdaxis.convert(conv, thirdaxis.AlignShift(border=border))(x, thickness=four)
        expected = by_slice(conv, shifted(x, 1, [0.5], border), 1)
        torch.testing.assert_close(found, expected, **TIGHT)


def test_a3d_starts_within_a_tenth_of_the_identity():
    lifted = thirdaxis.convert(nn.Conv2d(64, 4, 3, padding=1), thirdaxis.A3D(depth=5))
    noise = lifted.fusion.mix - torch.eye(5).unsqueeze(-1)
    assert 0.09 < noise.abs().max() <= 0.1 and noise.mean().abs() < 0.01
    with pytest.raises(thirdaxis.InputError, match="converted for volumes of 5 slices.*got 4"):
        lifted(torch.randn(1, 64, 4, 6, 6))


def test_psc_has_the_parameters_of_the_sheet():
    """M = floor(Ci Co k^3 / (Ci k^2 + Co k) / 3), at most Co: about as many as K x K x K has."""
    lifted = thirdaxis.convert(nn.Conv2d(64, 96, 3, padding=1), "psc")
    middle = 64 * 96 * 27 // (64 * 9 + 96 * 3) // 3
    assert middle == 64
    assert lifted.weight.shape == (3 * middle, 64, 3, 3)
    assert lifted.fusion.across.shape == (96, middle, 3)
    narrow = thirdaxis.convert(nn.Conv2d(64, 4, 5), "psc")  # 6 by the formula
    assert narrow.fusion.across.shape == (4, 4, 5)


@pytest.mark.parametrize("side,stride,padding,extra", [(2, 2, 0, 0), (3, 2, 1, 1), (3, 1, 1, 0)])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_transposed_psc_written_out(side, stride, padding, extra, groups):
    """Slices are repeated, then all is an ordinary transposed convolution, stream by stream."""
    conv = nn.ConvTranspose2d(6, 12, side, stride, padding, extra, groups)
    lifted, x = thirdaxis.convert(conv, "psc"), torch.randn(2, 6, 3, 4, 5)
    width, per_group = lifted.fusion.across.shape[1], 12 // groups
    outputs = []
    for group in range(groups):
        read = x[:, group * 6 // groups : (group + 1) * 6 // groups]
        streams = [(group, per_group)] if groups == 3 else [(i, per_group // 3) for i in range(3)]
        for i, (axis, count) in enumerate(streams):
            kernel = lifted.weight[group * 6 // groups : (group + 1) * 6 // groups]
            kernel = kernel[:, i * width : (i + 1) * width].unsqueeze(2 + axis)
            first = sum(part.shape[1] for part in outputs)
            taps = lifted.fusion.across[first : first + count].transpose(0, 1)
            line = [side if i == axis else 1 for i in range(3)]
            out = read
            others = [i for i in range(3) if i != axis]
            for part, axes in ((kernel, others), (taps.reshape(width, count, *line), [axis])):
                if 0 in axes:
                    out = out.repeat_interleave(stride, 2)
                depth = out.shape[2]
                out = F.conv_transpose3d(
                    out,
                    part,
                    None,
                    [stride if i in axes and i > 0 else 1 for i in range(3)],
                    [padding if i in axes and i > 0 else 0 for i in range(3)],
                    [extra if i in axes and i > 0 else 0 for i in range(3)],
                )
                before = (side - 1) // 2 if 0 in axes else 0
                out = out[:, :, before : before + depth]
                out = out.relu() if part is kernel else out
            outputs.append(out)
    expected = torch.cat(outputs, 1) + conv.bias.view(-1, 1, 1, 1)
    torch.testing.assert_close(lifted(x), expected, **TIGHT)


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(ON_CONVOLUTIONS)),
    depth=st.integers(1, 9),
    side=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 3, 4, 12]),
    keep=st.booleans(),
    transposed=st.booleans(),
)
def test_sizes_follow_the_depth_rule(
    operator, told, name, depth, side, stride, padding, dilation, groups, keep, transposed
):
    """ceil(D / s) slices, or D * s the other way; height and width as in 2D."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    conv = kind(12, 12, side, stride, padding, dilation=dilation, groups=groups)
    x = torch.randn(1, 12, depth, 13, 14)
    if min(conv(x[:, :, 0].detach()).shape[-2:] if _fits(conv, x) else (0,)) < 1:
        return
    lifted = thirdaxis.convert(conv, operator(name, depth), depth_stride=not keep)
    out, step = lifted(x, **told(name, x)), 1 if keep else stride
    if transposed:  # a single slice may have been a single one before it was strided
        assert out.shape[2] == depth * step or depth == out.shape[2] == 1
    else:
        assert out.shape[2] == -(-depth // step)
    assert out.shape[-2:] == conv(x[:, :, 0]).shape[-2:]
    assert out.isfinite().all()


def _fits(conv: nn.Module, x: torch.Tensor) -> bool:
    try:
        conv(x[:, :, 0])
    except RuntimeError:
        return False
    return True


class ThickTSM(thirdaxis.TSM):
    """A wrong operator: as many channels look ahead as should, but all of them by two slices."""

    def mixed(self, x, geometry):
        return super().mixed(super().mixed(x, geometry), geometry)


class LateA3D(thirdaxis.A3D):
    """A wrong operator: the transposed mix."""

    def operator(self, layer):
        made = super().operator(layer)
        made.mixed = lambda x, geometry: torch.einsum("ncdhw,kdc->nckhw", x, made.mix)
        return made


WRONG = {
    "tsm": ThickTSM(),
    "alignshift": thirdaxis.AlignShift(reference=3.0),
    "a3d": LateA3D(depth=5),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_chain_is_caught(name):
    conv, x = nn.Conv2d(16, 6, 3, padding=1), torch.randn(2, 16, 5, 7, 8)
    with pytest.raises(AssertionError, match="not close"):
        assert_chain(name, WRONG[name], conv, x, 1)


@pytest.mark.parametrize("name", ["p3d", "psc"])
def test_wrong_parameters_are_caught(name):
    """The answer for one kernel is not that of the same kernel turned round along depth."""
    conv, x = nn.Conv2d(16, 6, 3, padding=1), torch.randn(2, 16, 5, 7, 8)
    lifted = disturbed(thirdaxis.convert(conv, name))
    expected = ANSWERS[name](lifted, conv, x, 1)
    torch.testing.assert_close(lifted(x), expected, **TIGHT)
    own = next(lifted.fusion.parameters())
    own.data = own.data.flip(-1)
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(lifted(x), expected, **TIGHT)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: thirdaxis.TSM(fraction=0.6), "tsm: fraction is from 0 to 0.5, got 0.6"),
        (lambda: thirdaxis.AlignShift(reference=0), "reference is positive, in mm, got 0"),
        (lambda: thirdaxis.AlignShift(border="zeros"), "did you mean 'zero'"),
        (lambda: thirdaxis.A3D(depth=0), "depth is a whole number of slices from 1, got 0"),
        (lambda: thirdaxis.A3D(noise=-1), "noise is a number from 0, got -1"),
        (lambda: thirdaxis.I3D(start="center"), "did you mean 'centre'"),
        (lambda: thirdaxis.ACS(split=(0, 0, 0)), "split takes three whole numbers"),
        (lambda: thirdaxis.ACS(planes=("axial", "coronal", "saggital")), "mean 'sagittal'"),
    ],
)
def test_settings_that_make_no_sense(make, message):
    with pytest.raises(thirdaxis.UsageError, match=message):
        make()


def test_acs_shares_channels_out_as_asked():
    conv, x = nn.Conv2d(3, 8, 3, padding=1), torch.randn(1, 3, 5, 6, 7)
    found = thirdaxis.convert(conv, thirdaxis.ACS(split=(2, 1, 1)))(x)
    for plane, channels in (("axial", [0, 1, 2, 3]), ("coronal", [4, 5]), ("sagittal", [6, 7])):
        alone = thirdaxis.convert(conv, thirdaxis.ACS(planes=(plane,) * 3))(x)
        torch.testing.assert_close(found[:, channels], alone[:, channels], **TIGHT)
