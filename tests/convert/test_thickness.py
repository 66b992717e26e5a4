"""The thickness of slices reaches the operators of its own call, in eager mode and elsewhere."""

import threading

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn
from torch.utils.checkpoint import checkpoint

import thirdaxis


class Net(nn.Module):
    """A stem, a block that may be checkpointed, and a method of its own."""

    def __init__(self, reentrant=None):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 4, 3))
        self.reentrant = reentrant

    def forward_features(self, x):
        return self.stem(x)

    def forward(self, x):
        x = self.forward_features(x)
        if self.reentrant is None:
            return self.block(x)
        return checkpoint(self.block, x, use_reentrant=self.reentrant)


AWARE = {"alignshift": thirdaxis.AlignShift(), "a3d": thirdaxis.A3D(depth=5, reference=2.0)}
MIXED = {"block.2": "soft_acs"}  # parameters of an operator beside those of the network


@pytest.fixture(params=AWARE)
def fusion(request):
    return AWARE[request.param]


def lifted(fusion, **settings):
    torch.manual_seed(0)
    return thirdaxis.convert(Net(**settings), fusion, overrides=MIXED)


@pytest.fixture
def volumes():
    torch.manual_seed(1)
    return torch.randn(3, 1, 5, 10, 9)


THICKNESS = torch.tensor([1.0, 4.0, 5.0])


def test_every_volume_has_its_own_thickness(fusion, volumes):
    net = lifted(fusion)
    out = net(volumes, thickness=THICKNESS)
    for i in range(3):
        alone = net(volumes[i : i + 1], thickness=THICKNESS[i : i + 1])
        torch.testing.assert_close(out[i : i + 1], alone)
    assert not torch.allclose(out, net(volumes, thickness=THICKNESS.flip(0)))


def test_a_missing_thickness_says_so(fusion, volumes):
    said = rf"{fusion.name}.* needs the thickness.*\(N,\) in mm"
    with pytest.raises(thirdaxis.InputError, match=said):
        lifted(fusion)(volumes)


@pytest.mark.parametrize("wrong", [2.0, torch.ones(2), torch.ones(3, 1), torch.tensor(2.0)])
def test_a_thickness_of_another_shape_is_refused(volumes, wrong):
    with pytest.raises(
        thirdaxis.InputError, match=r"thickness takes a tensor \(3,\), the distance"
    ):
        lifted("alignshift")(volumes, thickness=wrong)


@pytest.mark.parametrize("fusion", ["acs", thirdaxis.A3D(depth=5)])
def test_operators_that_need_none_let_it_pass(fusion, volumes):
    net = lifted(fusion)
    torch.testing.assert_close(net(volumes, thickness=THICKNESS), net(volumes))


class Lines(nn.Module):
    """A network whose own argument has that name."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x, thickness):
        return self.conv(x) * thickness


def test_an_argument_of_the_network_itself_stays_its_own(volumes):
    net = thirdaxis.convert(Lines(), "acs")
    torch.testing.assert_close(net(volumes, thickness=3), 3 * net(volumes, 1))
    with pytest.raises(thirdaxis.InputError, match="needs the thickness"):
        thirdaxis.convert(Lines(), "alignshift")(volumes, thickness=3)


def test_parts_and_methods_take_it_too(fusion, volumes):
    net = lifted(fusion)
    whole = net(volumes, thickness=THICKNESS)
    stem = net.forward_features(volumes, thickness=THICKNESS)
    torch.testing.assert_close(net.stem(volumes, thickness=THICKNESS), stem)
    torch.testing.assert_close(net.block(stem, thickness=THICKNESS), whole)


def test_recomputation_sees_the_same(fusion, volumes):
    plain, saving = lifted(fusion), lifted(fusion, reentrant=False)
    first = plain(volumes, thickness=THICKNESS)
    second = saving(volumes, thickness=THICKNESS)
    saving(volumes, thickness=THICKNESS.flip(0))  # another call between forward and backward
    for out in (first, second):
        out.square().sum().backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_threads_have_their_own(fusion, volumes):
    net, found = lifted(fusion), {}
    with torch.no_grad():
        expected = {mm: net(volumes, thickness=torch.full((3,), mm)) for mm in (1.0, 3.0, 7.0)}

    def run(mm):
        with torch.no_grad():
            for _ in range(5):
                found[mm] = net(volumes, thickness=torch.full((3,), mm))

    threads = [threading.Thread(target=run, args=(mm,)) for mm in expected]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for mm, answer in expected.items():
        torch.testing.assert_close(found[mm], answer)


def test_a_compiled_network_takes_it_as_an_input(fusion, volumes):
    net = lifted(fusion)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for thickness in (THICKNESS, THICKNESS.flip(0), torch.full((3,), torch.nan)):
        out, expected = compiled(volumes, thickness=thickness), net(volumes, thickness=thickness)
        torch.testing.assert_close(out, expected)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 1
    compiled(volumes, thickness=THICKNESS).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_an_exported_network_takes_it_as_an_input(fusion, volumes):
    net = lifted(fusion).eval()
    program = torch.export.export(net, (volumes,), {"thickness": THICKNESS}, strict=False)
    for thickness in (THICKNESS, THICKNESS.flip(0)):
        found = program.module()(volumes, thickness=thickness)
        torch.testing.assert_close(found, net(volumes, thickness=thickness))


def _train_apart(rank, address, fusion, volumes, found):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    parallel = nn.parallel.DistributedDataParallel(lifted(fusion))
    mine = slice(rank, rank + 1)
    parallel(volumes[mine], thickness=THICKNESS[mine]).square().mean().backward()
    if rank == 0:
        found.update({name: p.grad for name, p in parallel.module.named_parameters()})
    torch.distributed.destroy_process_group()


def test_ddp_with_two_processes(fusion, tmp_path, volumes):
    net, volumes = lifted(fusion), volumes[:2]
    net(volumes, thickness=THICKNESS[:2]).square().mean().backward()
    with mp.Manager() as manager:
        found = manager.dict()
        mp.spawn(_train_apart, (f"file://{tmp_path / 'meeting'}", fusion, volumes, found), nprocs=2)
        assert "block.2.fusion.logits" in found
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(found[name], parameter.grad)
