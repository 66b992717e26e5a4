"""A converted network is an ordinary module: what the caller had is kept, nothing of it changed."""

import copy
import inspect
import io
import pickle
import threading

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision import models

import thirdaxis
from thirdaxis.fusion.table import FUSIONS, ON_CONVOLUTIONS


class Tied(nn.Module):
    """Shared weights, buffers, a frozen layer, and code that only works on pictures."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.again = nn.Conv2d(6, 6, 3, 2, 1)
        self.tied = nn.Conv2d(6, 6, 3, 2, 1)
        self.tied.weight = self.again.weight
        self.up = nn.ConvTranspose2d(6, 6, 2, 2)
        for parameter in self.first.parameters():
            parameter.requires_grad_(False)

    def forward(self, x):
        batch, _, height, width = x.shape
        x = torch.relu_(self.norm(self.first(x)))
        y = self.again(x) + self.tied(x)
        y = self.up(y)[..., :height, :width]
        return y.reshape(batch, 2, 3, height, width).transpose(1, 2).flatten(1, 2)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Tied().eval()


@pytest.fixture
def volume():
    return torch.randn(2, 3, 5, 8, 10)


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
def test_structure_is_kept(net, volume, fusion, operator, told):
    before = copy.deepcopy(net.state_dict())
    lifted = thirdaxis.convert(net, operator(fusion, 5))
    assert type(lifted) is Tied and lifted is not net
    own = [n for n, _ in lifted.named_modules() if n.endswith(".fusion")]
    convolutions = ["first", "again", "tied", "up"]
    owners = convolutions if FUSIONS[fusion].owns_parameters else []
    assert own == [f"{name}.fusion" for name in owners]
    assert [n for n, _ in lifted.named_modules() if n not in own] == [
        n for n, _ in net.named_modules()
    ]
    assert [k for k in lifted.state_dict() if ".fusion." not in k] == list(net.state_dict())
    assert sum(".fusion." in k for k in lifted.state_dict()) == len(owners)
    assert lifted.tied.weight is lifted.again.weight
    assert not lifted.first.weight.requires_grad and lifted.again.weight.requires_grad
    assert not lifted.training and lifted.train().training and not net.training
    lifted.train()(volume, **told(fusion, volume)).sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert not net._forward_hooks and not net._forward_pre_hooks
    if fusion not in {"i3d", "psc"}:
        assert all(v.shape == lifted.state_dict()[k].shape for k, v in before.items())
    with pytest.raises(thirdaxis.InputError, match=r"takes \(N, C, D, H, W\), got rank 4"):
        lifted(volume[:, :, 0])
    assert net(volume[:, :, 0]).shape == (2, 6, 8, 10)


def test_dtype_and_device_are_kept(net, volume):
    half = thirdaxis.convert(net.double())
    assert half.first.weight.dtype == torch.float64
    assert half(volume.double()).dtype == torch.float64
    assert thirdaxis.convert(net.to("meta"))(volume.double().to("meta")).device.type == "meta"


def test_hooks_are_kept_and_see_pictures(net, volume):
    seen = []
    net.norm.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
    net.register_forward_pre_hook(lambda module, args: seen.append(args[0].dim()))
    lifted = thirdaxis.convert(net)
    lifted.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
    lifted(volume)
    assert seen == [4, (2, 6, 8, 10), (2, 6, 5, 8, 10)]


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
def test_copies_and_round_trips(net, volume, fusion, operator, told):
    settings, given = operator(fusion, 5), told(fusion, volume)
    strides = {"again": {"depth_stride": True}}
    lifted = thirdaxis.convert(net, settings, depth_stride=True, overrides=strides)
    flat = {"slicewise", "planecycle"}  # of one block, it is the turn of the slices
    expected = lifted(volume, **given)
    stored = io.BytesIO()
    torch.save(lifted.state_dict(), stored)
    stored.seek(0)
    fresh = thirdaxis.convert(Tied().eval(), settings, depth_stride=True)
    fresh.load_state_dict(torch.load(stored, weights_only=True), strict=True)
    for twin in (copy.deepcopy(lifted), pickle.loads(pickle.dumps(lifted)), fresh):
        torch.testing.assert_close(twin(volume, **given), expected, rtol=0, atol=0)
        report = thirdaxis.report(twin, (1, 3, 5, 8, 10))
        assert str(report).startswith(f"fusion:       {settings}")
        assert (report.lifted_share > 0) == (fusion not in flat) and not report.trouble
        assert report.parameters == sum(p.numel() for p in lifted.parameters())


def test_autocast(net, volume):
    lifted = thirdaxis.convert(net)
    with torch.autocast("cpu", torch.bfloat16):
        out = lifted(volume)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), lifted(volume), rtol=0.05, atol=0.05)


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Upsample(scale_factor=2, mode="bilinear")
        self.reentrant = reentrant

    def forward(self, x):
        x = self.stem(x)
        if self.reentrant is None:
            return self.head(self.block(x))
        return self.head(checkpoint(self.block, x, use_reentrant=self.reentrant))


# The reentrant variant goes through `autograd.backward`, which in old torches asks no subclass.
ANSWERABLE = "has_torch_function" in inspect.getsource(torch.autograd.backward)


@pytest.mark.parametrize("reentrant", [False, True] if ANSWERABLE else [False])
@pytest.mark.parametrize("overrides", [{}, {"block.0": "i3d"}])
def test_gradient_checkpointing(reentrant, overrides):
    torch.manual_seed(0)
    plain, saving = Checkpointed(None), Checkpointed(reentrant)
    saving.load_state_dict(plain.state_dict())
    x = torch.randn(2, 1, 5, 8, 8)
    grads = []
    for net in (plain, saving):
        lifted = thirdaxis.convert(net, "acs", overrides=overrides)
        out = lifted(x)
        assert out.shape == (2, 4, 5, 8, 8)
        out.square().sum().backward()
        grads.append([p.grad for p in lifted.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_threads_do_not_share_state():
    torch.manual_seed(0)
    net = models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    lifted = thirdaxis.convert(net)
    volumes = [torch.randn(1, 3, depth, 32, 32) for depth in (3, 8, 5, 12)]
    with torch.no_grad():
        expected = [lifted(v)["out"] for v in volumes]
    found = [None] * len(volumes)

    def run(i):
        with torch.no_grad():
            for _ in range(3):
                found[i] = lifted(volumes[i])["out"]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(volumes))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def _train_apart(rank, address, volumes, state, found):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    torch.manual_seed(0)
    lifted = thirdaxis.convert(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 3)))
    lifted.load_state_dict(state)
    parallel = nn.parallel.DistributedDataParallel(lifted)
    parallel(volumes[rank : rank + 1]).square().mean().backward()
    if rank == 0:
        found.update({name: p.grad for name, p in lifted.named_parameters()})
    torch.distributed.destroy_process_group()


def test_ddp_with_two_processes(tmp_path):
    torch.manual_seed(0)
    lifted = thirdaxis.convert(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 3)))
    volumes = torch.randn(2, 1, 5, 7, 8)
    lifted(volumes).square().mean().backward()
    with mp.Manager() as manager:
        found = manager.dict()
        address = f"file://{tmp_path / 'meeting'}"
        mp.spawn(_train_apart, (address, volumes, lifted.state_dict(), found), nprocs=2)
        for name, parameter in lifted.named_parameters():
            torch.testing.assert_close(found[name], parameter.grad)
