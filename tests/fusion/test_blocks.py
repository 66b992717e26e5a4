"""Operators of whole blocks, against the same axis moves written out by hand around the blocks."""

import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision import models

import thirdaxis
from thirdaxis import Flatten3D, PlaneCycle

CYCLE = ("HW", "DW", "DH", "HW")


@pytest.fixture(autouse=True)
def double_precision():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


class Block(nn.Module):
    """A block as people write it, with weights that make it do something."""

    def __init__(self, width, heads=2):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.num_heads = heads

    def forward(self, x):
        n, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, length, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(3 * q, 3 * k, v)
        x = x + 3 * self.proj(seen.transpose(1, 2).reshape(n, length, width))
        return x + self.mlp(self.norm2(x))


class Small(nn.Module):
    """A ViT with a class token and two registers."""

    def __init__(self, blocks=5, width=8, grid=(3, 4), registers=2, again=False):
        super().__init__()
        self.patches = nn.Conv2d(2, width, 2, 2)
        self.prefix = nn.Parameter(torch.randn(1, 1 + registers, width))
        self.place = nn.Parameter(torch.randn(1, grid[0] * grid[1], width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.norm, self.again = nn.LayerNorm(width), again

    def tokens(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.place
        return torch.cat((self.prefix.expand(len(x), -1, -1), tokens), 1)

    def forward(self, x):
        x = self.tokens(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.again else block(x)
        return self.norm(x)


def pooled(x, count):
    """(N, P, G, C) to (N, count, G, C), bin by bin."""
    size = x.shape[1]
    starts = [i * size // count for i in range(count)]
    stops = [-(-(i + 1) * size // count) for i in range(count)]
    return torch.stack([x[:, a:b].mean(1) for a, b in zip(starts, stops, strict=True)], 1)


def cycled(blocks, grid, glob, order, mean=False):
    """Blocks on (N, D, H, W, C) and tokens (N, D, G, C), every axis moved in plain sight."""
    depth = grid.shape[1]
    for number, block in enumerate(blocks):
        plane = order[number % len(order)]
        volume = {
            "HW": grid,
            "DW": grid.permute(0, 2, 1, 3, 4),
            "DH": grid.permute(0, 3, 1, 2, 4),
        }[plane]
        n, count, rows, columns, width = volume.shape
        given = glob.mean(1, keepdim=True).expand(-1, count, -1, -1) if mean else glob
        given = pooled(given, count)
        tokens = torch.cat((given, volume.reshape(n, count, rows * columns, width)), 2)
        out = block(tokens.flatten(0, 1), rows, columns).unflatten(0, (n, count))
        cut = given.shape[2]
        glob = pooled(out[:, :, :cut], depth)
        volume = out[:, :, cut:].reshape(n, count, rows, columns, width)
        back = {"HW": (0, 1, 2, 3, 4), "DW": (0, 2, 1, 3, 4), "DH": (0, 2, 3, 1, 4)}[plane]
        grid = volume.permute(back)
    return grid, glob


def by_hand(net, volume, order=CYCLE, mean=False):
    """A `Small` on (N, C, D, H, W): tokens of every slice, (N, D, T, C)."""
    tokens = torch.stack([net.tokens(volume[:, :, i]) for i in range(volume.shape[2])], 1)
    cut = net.prefix.shape[1]
    sides = volume.shape[3] // 2, volume.shape[4] // 2
    grid = tokens[:, :, cut:].unflatten(2, sides)
    blocks = [lambda x, rows, columns, block=block: block(x) for block in net.blocks]
    grid, glob = cycled(blocks, grid, tokens[:, :, :cut], order, mean)
    return net.norm(torch.cat((glob, grid.flatten(2, 3)), 2))


@pytest.mark.parametrize("tokens", ["group", "mean"])
@pytest.mark.parametrize("registers", [0, 2])
def test_a_vision_transformer_by_hand(tokens, registers):
    net = Small(registers=registers)
    lifted = thirdaxis.convert(net, PlaneCycle(tokens=tokens))
    volume = torch.randn(2, 2, 5, 6, 8, requires_grad=True)
    found, expected = lifted(volume), by_hand(net, volume, mean=tokens == "mean")
    close(found, expected)
    weighing = torch.randn_like(expected)
    ours = torch.autograd.grad((found * weighing).sum(), [volume, *lifted.parameters()])
    theirs = torch.autograd.grad((expected * weighing).sum(), [volume, *net.parameters()])
    for one, other in zip(ours, theirs, strict=True):
        close(one, other)


def test_planted_wrongs_are_caught():
    """Another order, another pooling and swapped sides must not pass for the right ones."""
    net, volume = Small(), torch.randn(1, 2, 5, 6, 8)
    right = thirdaxis.convert(net, "planecycle")(volume)
    wrongs = [by_hand(net, volume, ("HW", "DH", "DW", "HW")), by_hand(net, volume, mean=True)]
    wrongs.append(by_hand(net, volume, ("HW", "DW", "DH")))
    wrongs.append(thirdaxis.convert(net, "slicewise")(volume))
    for wrong in wrongs:
        with pytest.raises(AssertionError, match="not close"):
            close(right, wrong)


@settings(max_examples=25, deadline=None)
@given(
    depth=st.integers(1, 6),
    sides=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    order=st.lists(st.sampled_from(["HW", "DW", "DH"]), min_size=1, max_size=4),
    mean=st.booleans(),
    batch=st.integers(1, 2),
    registers=st.integers(0, 3),
)
@example(depth=1, sides=(1, 1), order=["DW"], mean=False, batch=1, registers=2)
def test_any_sizes_and_orders(depth, sides, order, mean, batch, registers):
    torch.manual_seed(0)
    net = Small(blocks=3, grid=sides, registers=registers)
    volume = torch.randn(batch, 2, depth, 2 * sides[0], 2 * sides[1])
    told = PlaneCycle(order=order, tokens="mean" if mean else "group")
    with torch.no_grad():
        close(thirdaxis.convert(net, told)(volume), by_hand(net, volume, tuple(order), mean))


@pytest.mark.parametrize("depth_stride", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        Small,
        lambda: models.resnet18(weights=None),
        lambda: timm.create_model("convnext_atto", ls_init_value=1.0),
        lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=64, depths=(2, 2)),
    ],
)
def test_slices_alone_are_slicewise_exactly(make, depth_stride):
    net = make().eval()
    size = (1, 2, 4, 6, 8) if isinstance(net, Small) else (1, 3, 4, 64, 64)
    volume = torch.randn(size)
    if isinstance(net, Small):
        depth_stride = False
    told = dict(depth_stride=depth_stride)
    with torch.no_grad():
        one = thirdaxis.convert(net, PlaneCycle(order=("HW",)), **told)(volume)
        other = thirdaxis.convert(net, "slicewise", **told)(volume)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def shaken(net):
    """Random numbers for what starts at nothing, such as layer scales and biases."""
    for parameter in net.parameters():
        if parameter.dim() == 1:
            parameter.data.uniform_(0.5, 1.5)
    return net.eval()


def slices(run, volume):
    """What a 2D step gives for every slice, (N, D, ...)."""
    return torch.stack([run(volume[:, :, i]) for i in range(volume.shape[2])], 1)


@pytest.mark.parametrize("depth", [1, 4, 7])
def test_timm_vision_transformer(depth):
    net = shaken(timm.create_model("vit_tiny_patch16_224", img_size=64, depth=4, embed_dim=24))
    volume = torch.randn(1, 3, depth, 64, 64)
    tokens = slices(lambda x: net.norm_pre(net._pos_embed(net.patch_embed(x))), volume)
    blocks = [lambda x, rows, columns, block=block: block(x) for block in net.blocks]
    with torch.no_grad():
        grid, glob = cycled(blocks, tokens[:, :, 1:].unflatten(2, (4, 4)), tokens[:, :, :1], CYCLE)
        expected = net.head(net.norm(glob[:, :, 0])).mean(1)
        close(thirdaxis.convert(net, "planecycle")(volume), expected)


@pytest.mark.parametrize("depth", [3, 4])
@pytest.mark.parametrize(
    "name,sides",
    [
        ("vit_small_patch16_dinov3", (4, 4)),
        ("eva02_tiny_patch14_224", (4, 4)),
        ("vit_small_patch16_rope_mixed_224", (4, 4)),
        ("vit_small_patch16_dinov3", (2, 4)),
    ],
)
def test_rotary_positions_are_those_of_the_plane(name, sides, depth):
    side = 14 if "patch14" in name else 16
    size = sides[0] * side, sides[1] * side
    net = shaken(timm.create_model(name, img_size=size, depth=4, embed_dim=48, num_heads=2))
    volume = torch.randn(2, 3, depth, *size)
    fresh = {}

    def positions(number, rows, columns):
        """From a network that is made for pictures of this plane's sides."""
        if (rows, columns) not in fresh:
            told = dict(img_size=(rows * side, columns * side), depth=4, embed_dim=48, num_heads=2)
            other = timm.create_model(name, **told).eval()
            for key, value in net.rope.named_parameters():
                dict(other.rope.named_parameters())[key].data.copy_(value)
            fresh[rows, columns] = other._pos_embed(
                other.patch_embed(torch.zeros(1, 3, rows * side, columns * side))
            )[1]
        rope = fresh[rows, columns]
        return rope[number] if "mixed" in name else rope

    blocks = [
        lambda x, rows, columns, i=i: net.blocks[i](x, rope=positions(i, rows, columns))
        for i in range(4)
    ]
    with torch.no_grad():
        tokens = slices(lambda x: net._pos_embed(net.patch_embed(x))[0], volume)
        cut = net.num_prefix_tokens
        grid = tokens[:, :, cut:].unflatten(2, sides)
        grid, glob = cycled(blocks, grid, tokens[:, :, :cut], CYCLE)
        lifted = thirdaxis.convert(net, "planecycle")
        close(lifted.forward_features(volume), net.norm(torch.cat((glob, grid.flatten(2, 3)), 2)))


@pytest.mark.parametrize("depth", [2, 3])
def test_rotary_positions_in_transformers(depth):
    transformers = pytest.importorskip("transformers")
    told = dict(image_size=48, patch_size=16, hidden_size=24, num_attention_heads=2)
    config = transformers.DINOv3ViTConfig(
        **told, num_hidden_layers=4, intermediate_size=48, num_register_tokens=2
    )
    net = shaken(transformers.DINOv3ViTModel(config).double())
    volume = torch.randn(1, 3, depth, 48, 48)
    layers = net.model.layer if hasattr(net, "model") else net.layer

    def run(layer, x, rows, columns):
        picture = torch.zeros(1, 3, 16 * rows, 16 * columns)
        out = layer(x, position_embeddings=net.rope_embeddings(picture))
        return out[0] if isinstance(out, tuple) else out

    blocks = [
        lambda x, rows, columns, layer=layer: run(layer, x, rows, columns) for layer in layers
    ]
    lifted = thirdaxis.convert(net, "planecycle")
    with torch.no_grad():
        tokens = slices(net.embeddings, volume)
        grid, glob = cycled(blocks, tokens[:, :, 3:].unflatten(2, (3, 3)), tokens[:, :, :3], CYCLE)
        found = lifted(volume).last_hidden_state
        close(found, net.norm(torch.cat((glob, grid.flatten(2, 3)), 2)))


def maps(block, volume, plane):
    """A 2D block on planes of (N, C, D, H, W)."""
    there = {"HW": (0, 2, 1, 3, 4), "DW": (0, 3, 1, 2, 4), "DH": (0, 4, 1, 2, 3)}[plane]
    back = {"HW": (0, 2, 1, 3, 4), "DW": (0, 2, 3, 1, 4), "DH": (0, 2, 3, 4, 1)}[plane]
    planes = volume.permute(there)
    out = block(planes.flatten(0, 1)).unflatten(0, planes.shape[:2])
    return out.permute(back)


def in_turn(steps, volume):
    """Steps on (N, C, D, H, W); those that are told True take the next turn."""
    number = 0
    for step, is_block in steps:
        volume = maps(step, volume, CYCLE[number % 4] if is_block else "HW")
        number += is_block
    return volume


@pytest.mark.parametrize("size", [(4, 64, 64), (5, 64, 96), (1, 32, 32)])
def test_residual_network(size, lively):
    net = lively(models.resnet18(weights=None))
    for name, module in net.named_modules():
        if name.endswith("bn2"):
            module.weight.data.fill_(1.0)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    steps = [(stem, False)]
    for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
        steps += [(block, block.downsample is None) for block in layer]
    volume = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = net.fc(in_turn(steps, volume).mean((2, 3, 4)))
        close(thirdaxis.convert(net, "planecycle")(volume), expected)


def test_convnext_and_where_blocks_go():
    net = shaken(timm.create_model("convnext_atto", ls_init_value=1.0, depths=(2, 1, 3, 2)))
    steps = [(net.stem, False)]
    for stage in net.stages:
        steps.append((stage.downsample, False))
        steps += [(block, len(stage.blocks) > 1) for block in stage.blocks]
    volume = torch.randn(1, 3, 5, 64, 32)
    lifted = thirdaxis.convert(net, "planecycle")
    with torch.no_grad():
        close(lifted.forward_features(volume), in_turn([*steps, (net.norm_pre, False)], volume))
    turns = {name: turn.plane for name, turn in lifted._thirdaxis.turns.items()}
    assert list(turns.values()) == ["HW", "DW", "DH", "HW", "HW", "DW", "DH"]
    assert "stages.1.blocks.0" not in turns and turns["stages.2.blocks.0"] == "DH"
    assert "7 of 7 ran" in str(thirdaxis.report(lifted)) and "DW 2, DH 2" in str(
        thirdaxis.report(lifted)
    )


SWIN = dict(img_size=32, depths=(2, 4), num_heads=(2, 4), embed_dim=16, window_size=4)


def swin(library, **told):
    """A Swin of six blocks, and its steps on (N, H, W, C); True for a block."""
    if library == "torchvision":
        net = shaken(models.SwinTransformer([4, 4], 16, [2, 4], [2, 4], [4, 4], num_classes=3))
        patches, first, merging, second = net.features
        steps = [(patches, False), *((b, True) for b in first), (merging, False)]
        return net, [*steps, *((b, True) for b in second), (net.norm, False)]
    net = shaken(timm.create_model(library, **SWIN | told))
    steps = [(net.patch_embed, False)]
    for layer in net.layers:
        steps += [(layer.downsample, False), *((block, True) for block in layer.blocks)]
    return net, [*steps, (net.norm, False)]


@pytest.mark.parametrize(
    "library", ["swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "torchvision"]
)
@pytest.mark.parametrize("depth,told", [(4, {}), (9, {}), (8, {"embed_dim": 8})])
def test_swin_windows_and_channels_last(library, depth, told):
    """Shifted windows, padded and masked for the plane's own sides; at last all sizes alike."""
    net, steps = swin(library, **told)
    volume = torch.randn(1, 3, depth, 32, 32)
    with torch.no_grad():
        lifted = thirdaxis.convert(net, "planecycle")
        found = lifted(volume)
        x, number = volume.permute(0, 2, 1, 3, 4), 0
        for step, is_block in steps:
            plane = CYCLE[number % 4] if is_block else "HW"
            step.dynamic_mask = True  # timm's masks are for the slices' sides otherwise
            there = {"HW": (0, 1, 2, 3, 4), "DW": (0, 2, 1, 3, 4), "DH": (0, 3, 1, 2, 4)}[plane]
            back = {"HW": (0, 1, 2, 3, 4), "DW": (0, 2, 1, 3, 4), "DH": (0, 2, 3, 1, 4)}[plane]
            planes = x.permute(there)
            x = step(planes.flatten(0, 1)).unflatten(0, planes.shape[:2]).permute(back)
            number += is_block
        head = net.head if library == "torchvision" else net.head.fc
        close(found, head(x.mean((1, 2, 3))))
    assert number == 6


def flattened(net, volume, rope=None):
    """The blocks of a timm ViT on one sequence for the volume, class tokens once."""
    cut = net.num_prefix_tokens
    embedded = net._pos_embed(net.patch_embed(volume[:, :, 0]))
    each = slices(lambda x: net._pos_embed(net.patch_embed(x)), volume) if rope is None else None
    if rope is not None:
        each = slices(lambda x: net._pos_embed(net.patch_embed(x))[0], volume)
        embedded = embedded[0]
    x = torch.cat((embedded[:, :cut], each[:, :, cut:].flatten(1, 2)), 1)
    for block in net.blocks:
        x = block(x) if rope is None else block(x, rope=rope)
    return net.norm(x)


@pytest.mark.parametrize("depth", [1, 5])
def test_flatten3d_is_one_sequence(depth):
    net = shaken(timm.create_model("vit_tiny_patch16_224", img_size=64, depth=3, embed_dim=24))
    volume = torch.randn(2, 3, depth, 64, 64)
    lifted = thirdaxis.convert(net, "flatten3d")
    with torch.no_grad():
        expected = flattened(net, volume)
        found = lifted.forward_features(volume)
        close(lifted(volume), net.head(expected[:, 0]))
    close(found[:, :, 1:].flatten(1, 2), expected[:, 1:])
    close(found[:, :, 0], expected[:, :1].expand(-1, depth, -1))
    if depth == 1:
        flat = thirdaxis.convert(net, "slicewise")
        close(found, flat.forward_features(volume))


def rotations(depth, height, width, bands):
    """Three-dimensional positions of timm's DINOv3 written out, [sin, cos] of rows and columns.

    Frequencies 1, 5, 9, ... of the rows, and of the columns, turn with depth.
    """
    periods = 100.0 ** (torch.arange(bands) / bands)

    def angle(i, size, period):
        return 2 * torch.pi * (2 * (i + 0.5) / size - 1) / period

    out = []
    for d in range(depth):
        for i in range(height):
            for j in range(width):
                places = (i, height), (j, width)
                row = [
                    angle(*((d, depth) if k % 4 == 1 else place), periods[k])
                    for place in places
                    for k in range(bands)
                ]
                out.append(torch.tensor([float(a) for a in row] * 2))
    angles = torch.stack(out)
    return torch.cat((angles.sin(), angles.cos()), -1)


def test_flatten3d_turns_some_frequencies_with_depth():
    told = dict(img_size=(48, 32), depth=2, embed_dim=64, num_heads=2)
    net = shaken(timm.create_model("vit_small_patch16_dinov3", **told))
    volume = torch.randn(1, 3, 4, 48, 32)
    bands = 8
    flat = rotations(1, 3, 2, bands).unflatten(-1, (2, 2, 2, bands))
    known = net.rope.get_embed(shape=[3, 2]).unflatten(-1, (2, 2, 2, bands))
    keeps = [k for k in range(bands) if k % 4 != 1]
    torch.testing.assert_close(flat[..., keeps], known[..., keeps].double(), rtol=1e-5, atol=1e-5)
    lifted = thirdaxis.convert(net, "flatten3d")
    with torch.no_grad():
        expected = flattened(net, volume, rotations(4, 3, 2, bands))
        found = lifted.forward_features(volume)
    cut = net.num_prefix_tokens
    torch.testing.assert_close(
        found[:, :, cut:].flatten(1, 2), expected[:, cut:], rtol=1e-4, atol=1e-4
    )


def test_flatten3d_refuses_what_it_cannot_do():
    with pytest.raises(thirdaxis.UsageError, match="finds no block to act on that has attention"):
        thirdaxis.convert(models.resnet18(weights=None), "flatten3d")
    net = thirdaxis.convert(swin("torchvision")[0], Flatten3D())
    with pytest.raises(thirdaxis.ConversionError, match="blocks that keep their sides|sequences"):
        net(torch.randn(1, 3, 4, 32, 32))
