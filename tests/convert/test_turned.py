"""Turned blocks in the life of a network: how they are found, told, refused, compiled, kept."""

import copy
import pickle
import threading

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

import thirdaxis
from thirdaxis import PlaneCycle
from thirdaxis.convert.proof import prove
from thirdaxis.nets.unet import UNet

TORCH = tuple(map(int, torch.__version__.split(".")[:2]))


def turns(net, **told):
    lifted = thirdaxis.convert(net, PlaneCycle(**told))
    return {name: turn.plane for name, turn in lifted._thirdaxis.turns.items()}


def same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class Mixer(nn.Module):
    """A block for sequences that are told their sides, in one of several ways."""

    def __init__(self, width=6, way="pair"):
        super().__init__()
        self.norm, self.conv = nn.LayerNorm(width), nn.Conv2d(width, width, 3, padding=1)
        self.way = way

    def forward(self, x, *told, **named):
        sides = told or (named["height"], named["width"])
        height, width = sides[0] if len(sides) == 1 else sides
        grid = self.norm(x).transpose(1, 2).unflatten(2, (height, width))
        x = x + self.conv(grid).flatten(2).transpose(1, 2)
        return (x, (height, width)) if self.way == "handed on" else x


class Told(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.cut = nn.Conv2d(3, 6, 4, 4)
        self.layers = nn.ModuleList(Mixer(way=way) for _ in range(3))
        self.way = way

    def forward(self, x):
        x = self.cut(x)
        height, width = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        for layer in self.layers:
            if self.way == "handed on":
                x, (height, width) = layer(x, (height, width))
            elif self.way == "pair":
                x = layer(x, (height, width))
            elif self.way == "two":
                x = layer(x, height, width)
            else:
                x = layer(x, height=height, width=width)
        return x


@pytest.mark.parametrize("way", ["pair", "two", "named", "handed on"])
def test_sides_that_blocks_are_told_are_those_of_the_plane(way):
    torch.manual_seed(0)
    net, volume = Told(way), torch.randn(2, 3, 5, 12, 8)
    found = thirdaxis.convert(net, "planecycle")(volume)
    x = torch.stack([net.cut(volume[:, :, i]) for i in range(5)], 2)  # (N, C, D, H, W)
    orders = [(0, 2, 3, 4, 1), (0, 3, 2, 4, 1), (0, 4, 2, 3, 1)]
    for layer, order in zip(net.layers, orders, strict=True):
        planes = x.permute(order)
        n, count, rows, columns, width = planes.shape
        out = layer(planes.reshape(n * count, rows * columns, width), rows, columns)
        out = out[0] if way == "handed on" else out
        inverse = [order.index(i) for i in range(5)]
        x = out.view(n, count, rows, columns, width).permute(inverse)
    same(found, x.permute(0, 2, 3, 4, 1).flatten(2, 3))


class Sequences(nn.Module):
    """Torch's own encoder layers, which take (T, N, C) unless told otherwise."""

    def __init__(self, batch_first):
        super().__init__()
        self.cut = nn.Conv2d(3, 8, 4, 4)
        told = dict(dim_feedforward=8, dropout=0.0, batch_first=batch_first)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, **told) for _ in range(4))
        self.first = batch_first

    def forward(self, x):
        x = self.cut(x).flatten(2)
        x = x.transpose(1, 2) if self.first else x.permute(2, 0, 1)
        for layer in self.layers:
            x = layer(x)
        return x if self.first else x.transpose(0, 1)


def test_sequences_with_the_batch_second():
    torch.manual_seed(0)
    one, other = Sequences(True).eval(), Sequences(False).eval()
    other.load_state_dict(one.state_dict())
    volume = torch.randn(2, 3, 5, 16, 8)
    with torch.no_grad():
        first = thirdaxis.convert(one, "planecycle")(volume)
        same(first, thirdaxis.convert(other, "planecycle")(volume))
        flat = thirdaxis.convert(one, "slicewise")(volume)
    assert (first - flat).abs().max() > 0.05


def test_blocks_are_found_named_and_left_out():
    net = models.resnet18(weights=None)
    found = turns(net)
    assert list(found) == ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]
    assert list(found.values()) == ["HW", "DW", "DH", "HW", "HW"]
    named = turns(net, blocks=("layer1.*", "layer4.1"), order="DW")
    assert named == dict.fromkeys(["layer1.0", "layer1.1", "layer4.1"], "DW")
    lifted = thirdaxis.convert(net, "planecycle", overrides={"layer2*": "slicewise"})
    assert [t.plane for t in lifted._thirdaxis.turns.values()] == ["HW", "DW", "DH", "HW"]
    part = thirdaxis.convert(net, "slicewise", overrides={"layer3": PlaneCycle(order="DH")})
    assert set(part._thirdaxis.turns) == {"layer3.1"}
    with pytest.raises(thirdaxis.UsageError, match="no module matches 'layr1.0'"):
        turns(net, blocks="layr1.0")
    with pytest.raises(thirdaxis.UsageError, match="finds no block to act on"):
        turns(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 2, 2)))


@pytest.mark.parametrize(
    "name,count,some",
    [
        ("vit_tiny_patch16_224", 12, "blocks.11"),
        ("efficientnet_b0", 10, "blocks.1.1"),
        ("densenet121", 58, "features.denseblock4.denselayer16"),
        ("swin_tiny_patch4_window7_224", 12, "layers.2.blocks.5"),
        ("convnext_atto", 12, "stages.2.blocks.5"),
    ],
)
def test_what_counts_as_a_block(name, count, some):
    with torch.device("meta"):
        net = timm.create_model(name)
    found = turns(net)
    assert len(found) == count and some in found


def test_layers_of_single_positions_are_no_blocks():
    def point():
        return nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())

    def pool():
        return nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(4, 4, 1))

    assert list(turns(nn.Sequential(pool(), point(), pool(), point()))) == ["0", "2"]
    lines = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.GELU()) for _ in range(3))
    for net in (nn.Sequential(point(), point()), nn.Sequential(nn.Conv2d(3, 4, 2, 2), lines)):
        with pytest.raises(thirdaxis.UsageError, match="finds no block"):
            turns(net)


def test_networks_without_blocks_take_turns_by_convolution():
    torch.manual_seed(0)
    net, volume = UNet(1, 2).eval(), torch.randn(1, 1, 6, 16, 12)
    found = turns(net)
    assert list(found)[:4] == ["enc1.0", "enc1.3", "enc2.0", "enc2.3"]
    assert list(found.values())[:4] == ["HW", "DW", "DH", "HW"]
    assert thirdaxis.report(thirdaxis.convert(net, "planecycle")).lifted == 3
    conv = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, (1, 3), padding=(0, 1)))
    x = torch.randn(1, 2, 4, 5, 6)
    turned = thirdaxis.convert(conv, PlaneCycle(order=("DW", "DH")))(x)
    y = torch.stack([conv[0](x[:, :, :, i]) for i in range(5)], 3)  # planes D x W
    y = torch.stack([conv[1](y[..., i]) for i in range(6)], 4)  # planes D x H
    same(turned, y)
    assert thirdaxis.convert(net, "planecycle")(volume).shape == (1, 2, 6, 16, 12)


def test_relative_tables_take_cubes_and_say_so():
    net = timm.create_model(
        "beit_base_patch16_224", img_size=48, depth=3, embed_dim=24, num_heads=2
    )
    lifted = thirdaxis.convert(net.eval(), "planecycle")
    assert lifted(torch.randn(1, 3, 3, 48, 48)).shape == (1, 1000)
    with pytest.raises(thirdaxis.ConversionError) as said:
        lifted(torch.randn(1, 3, 4, 48, 48))
    line = str(said.value)
    assert "'blocks.1' does not take planes DW of 4 x 3, where its slices are 3 x 3" in line
    assert "3 x 3 x 3" in line and "overrides=" in line and "\n" not in line


class Coarse(nn.Module):
    """A block that looks at a coarser grid within, as attention with reduced keys does."""

    def __init__(self):
        super().__init__()
        self.conv, self.point = nn.Conv2d(4, 4, 2, 2), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return x + F.interpolate(self.point(self.conv(x)), size=x.shape[-2:])


def test_a_stride_inside_a_block_leaves_the_volume_alone():
    torch.manual_seed(0)
    net, volume = nn.Sequential(Coarse(), Coarse()), torch.randn(1, 4, 4, 6, 8)
    for depth_stride in (True, False):
        told = PlaneCycle(order=("DH", "HW"), blocks=("0", "1"))
        found = thirdaxis.convert(net, told, depth_stride=depth_stride)(volume)
        first = torch.stack([net[0](volume[..., i]) for i in range(8)], 4)
        same(found, torch.stack([net[1](first[:, :, i]) for i in range(4)], 2))


class Masked(Sequences):
    def forward(self, x):
        x = self.cut(x).flatten(2).transpose(1, 2)
        mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        for layer in self.layers:
            x = layer(x, mask)
        return x


class Window(nn.Module):
    """A block that keeps the sides of its slices, as the first Swin does."""

    def __init__(self, sides):
        super().__init__()
        self.input_resolution, self.conv = sides, nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x):
        x = x.transpose(1, 2).unflatten(2, self.input_resolution)
        return self.conv(x).flatten(2).transpose(1, 2)


class Windows(nn.Module):
    def __init__(self, sides):
        super().__init__()
        self.cut = nn.Conv2d(3, 6, 4, 4)
        self.layers = nn.ModuleList([Window(sides) for _ in range(3)])

    def forward(self, x):
        x = self.cut(x).flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return x


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 3, 2, 2), nn.ReLU())] * 1)
        self.layers.append(nn.Sequential(nn.Conv2d(3, 3, 2, 2), nn.ReLU()))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.parametrize(
    "net,size,words",
    [
        (Masked(True), (4, 16, 8), "positions or a mask"),
        (Windows((4, 2)), (2, 16, 8), "Window keeps the sides"),
        (Halves(), (4, 16, 16), "blocks that keep their sides"),
    ],
)
def test_refusals_at_run_time(net, size, words):
    lifted = thirdaxis.convert(net, PlaneCycle(order="DH", blocks="layers.*"))
    with pytest.raises(thirdaxis.ConversionError, match=words):
        lifted(torch.randn(1, 3, *size))


def test_tokens_sorted_by_windows_are_refused():
    for name in ("nest_tiny", "hiera_tiny_224"):
        with torch.device("meta"):
            net = timm.create_model(name)
        with pytest.raises(thirdaxis.UsageError, match="sorts the tokens"):
            thirdaxis.convert(net, "planecycle")


@pytest.mark.parametrize(
    "told,words",
    [
        (dict(order=("HW", "WD")), "unknown plane 'WD'"),
        (dict(order=()), "got none"),
        (dict(tokens="max"), "unknown tokens 'max'"),
        (dict(blocks=(3,)), "blocks takes names"),
        (dict(prefix=-1), "prefix is a number"),
    ],
)
def test_settings_without_sense(told, words):
    with pytest.raises(thirdaxis.UsageError, match=words):
        PlaneCycle(**told)


def vit(**told):
    torch.manual_seed(0)
    told = dict(img_size=32, depth=4, embed_dim=24, num_heads=2, num_classes=3) | told
    return timm.create_model("vit_tiny_patch16_224", patch_size=8, reg_tokens=2, **told)


def test_copies_threads_and_parts_by_themselves():
    net = thirdaxis.convert(vit(), "planecycle").eval()
    volumes = [torch.randn(1, 3, depth, 32, 32) for depth in (1, 3, 4, 6)]
    with torch.no_grad():
        expected = [net(volume) for volume in volumes]
        found = {}

        def run(i):
            with torch.no_grad():
                found[i] = net(volumes[i])

        threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
        [thread.start() for thread in threads], [thread.join() for thread in threads]
        for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            same(twin(volumes[1]), expected[1])
    for i in range(4):
        same(found[i], expected[i])
    conv = thirdaxis.convert(models.resnet18(weights=None), PlaneCycle(order="DH")).eval()
    volume = torch.randn(1, 64, 3, 6, 5)
    with torch.no_grad():
        alone = conv.layer1[0](volume)
        block = models.resnet18(weights=None).eval().layer1[0]
        block.load_state_dict(conv.layer1[0].state_dict())
        planes = torch.stack([block(volume[..., i]) for i in range(5)], 4)
    same(alone, planes)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_gives_the_same_gradients(reentrant):
    volume = torch.randn(1, 3, 3, 32, 32)
    slopes = []
    for again in (False, True):
        net = thirdaxis.convert(vit(), "planecycle").train()
        if again:
            net.set_grad_checkpointing(True)
            timm.layers.set_reentrant_ckpt(reentrant)
        answer = net(volume).square().sum()
        if again and reentrant and TORCH < (2, 14):  # seen in 2.8 and 2.10, in any fusion
            with pytest.raises(RuntimeError, match="Mismatch in shape"):
                answer.backward()
            return
        answer.backward()
        slopes.append([p.grad for p in net.parameters()])
    for one, other in zip(*slopes, strict=True):
        same(one, other)


@pytest.mark.parametrize("fusion", ["planecycle", "flatten3d"])
def test_training_and_evaluation_compile(fusion):
    torch._dynamo.reset()
    net = thirdaxis.convert(vit(), fusion)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    for training, depth in ((True, 3), (False, 3), (False, 5)):
        net.train(training)
        volume = torch.randn(1, 3, depth, 32, 32)
        one, other = compiled(volume), copy.deepcopy(net)(volume)
        same(one, other)
        one.square().sum().backward()
    torch._dynamo.reset()


@pytest.mark.parametrize("fusion", ["planecycle", "flatten3d"])
def test_exports_at_one_size(fusion):
    net = thirdaxis.convert(vit(), fusion).eval()
    volume = torch.randn(1, 3, 4, 32, 32)
    if TORCH < (2, 10):
        with pytest.raises(thirdaxis.ConversionError, match="cannot be traced"):
            thirdaxis.export(net, volume, dynamic=())
        return
    program = thirdaxis.export(net, torch.randn(1, 3, 4, 32, 32), dynamic=())
    with torch.no_grad():
        same(program.module()(volume), net(volume))


def test_an_export_for_any_depth_says_why_not():
    net, example = thirdaxis.convert(vit(), "planecycle"), torch.randn(1, 3, 4, 32, 32)
    said = "cannot be traced" if TORCH < (2, 10) else "fewer axes in dynamic"
    with pytest.raises(thirdaxis.ConversionError, match=said):
        thirdaxis.export(net, example, dynamic=("depth",))


def test_training_mode_uses_statistics_of_the_planes():
    """Batch norm inside a turned block sees the same numbers, whatever the orientation."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    net = nn.Sequential(block, copy.deepcopy(block))
    lifted = thirdaxis.convert(net, PlaneCycle(order="DW")).train()
    volume = torch.randn(2, 4, 3, 5, 6)
    found = lifted(volume)
    turned = volume.transpose(2, 3)
    for part in net.train():
        turned = part(turned.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 5)).transpose(1, 2)
    same(found, turned.transpose(2, 3))
    for one, other in zip(lifted.buffers(), net.buffers(), strict=True):
        same(one, other)


def test_check_and_prove_know_that_planes_mix():
    pictures = torch.randn(2, 3, 32, 32)
    check = thirdaxis.check(vit(), pictures, "planecycle")
    assert check.passed and check.conclusive
    for fusion in ("planecycle", "flatten3d"):
        proof = prove(vit(), pictures, fusion)
        assert proof.passed, proof.failure
