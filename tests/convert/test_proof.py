"""`prove` holds what converts, and refutes each claim when a wrong rule is planted."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import thirdaxis
from thirdaxis.convert.carrier import LAYERS, RULES, hide_like
from thirdaxis.convert.claims import CLAIMS
from thirdaxis.convert.proof import prove
from thirdaxis.fusion.table import FUSIONS, ON_CONVOLUTIONS


class Net(nn.Module):
    """A small pyramid with a way back up."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 6, 3, 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.axial = nn.Conv2d(6, 6, (1, 3), padding=(0, 1))
        self.head = nn.Conv2d(6, 2, 3, padding=1)

    def forward(self, x):
        y = torch.relu(self.axial(self.norm(self.down(x))))
        y = F.interpolate(y, size=x.shape[-2:], mode="bilinear")
        return {"map": self.head(y), "vector": y.mean((2, 3))}


class Patches(nn.Module):
    """Attention over patches, by modules whose answers hold a None."""

    def __init__(self):
        super().__init__()
        self.cut = nn.Conv2d(3, 8, 8, 8)
        self.look = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        return self.look(tokens, tokens, tokens, need_weights=False)[0]


@pytest.fixture
def pictures():
    torch.manual_seed(0)
    return torch.randn(2, 3, 16, 16)


@pytest.mark.parametrize(
    "fusion", [name for name in ON_CONVOLUTIONS if name not in {"slicewise", "a3d"}]
)
def test_a_network_that_converts(pictures, fusion):
    state = torch.random.get_rng_state()
    net = Net().eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.random.get_rng_state()
    proof = prove(net, pictures, fusion)
    assert proof.passed and proof.claims == tuple(CLAIMS), proof.failure
    assert proof.depth_stride is not FUSIONS[fusion].keeps_depth
    assert 0 < proof.error < 1e-10 < proof.sensitivity
    lifted = {"tsm": 3, "alignshift": 3, "planecycle": 1}  # no others turn a non-square kernel
    assert (proof.lifted, len(proof.executed)) == (lifted.get(fusion, 2), 3)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not net.training and all(p.grad is None for p in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_attention(pictures):
    proof = prove(Patches(), pictures)
    assert proof.passed, proof.failure
    assert not proof.depth_stride and proof.lifted == 1


def wrong(name):
    """A rule that is wrong in one way, and the claim that it refutes."""
    relu = RULES[torch.relu]

    def mixes(func, args, kwargs):
        return hide_like(args[0] + 0.01 * args[0].flip(0), args[0])

    def drops_the_last(func, args, kwargs):
        return hide_like(args[0][:-1] if args[0].shape[0] > 2 else args[0], args[0])

    def detaches(func, args, kwargs):
        return hide_like(func(args[0].detach()), args[0])

    def bends_gradients(func, args, kwargs):
        x = relu(func, args, kwargs)
        return hide_like(1.1 * x - (0.1 * x).detach(), args[0])

    def fails_on_one(func, args, kwargs):
        if args[0].shape[0] == 1:
            raise ValueError("one slice only")
        return relu(func, args, kwargs)

    def plain_convolution(func, args, kwargs):
        x, *rest = args
        folded = x.flatten(0, 1)
        return hide_like(func(folded, *rest, **kwargs).unflatten(0, (-1, x.shape[1])), x)

    return {
        "mixes": (torch.relu, mixes, "identical|independent"),
        "drops": (torch.relu, drops_the_last, "slices"),
        "detaches": (torch.relu, detaches, "parameters have a gradient in one only"),
        "bends": (torch.relu, bends_gradients, "the gradient of"),
        "fails": (torch.relu, fails_on_one, "one slice only"),
        "plain": (torch.conv2d, plain_convolution, "3 spatial convolutions run in 2D, 0 are seen"),
    }[name]


@pytest.mark.parametrize("name", ["mixes", "drops", "detaches", "bends", "fails", "plain"])
def test_a_planted_wrong_rule_is_refuted(pictures, monkeypatch, name):
    function, rule, said = wrong(name)
    monkeypatch.setitem(RULES, function, rule)
    monkeypatch.delitem(LAYERS, nn.Conv2d)  # layers, too, take the long way to it
    net = Net()
    if name == "plain":  # a network without strides, where folding into the batch fits
        net.down.stride = (1, 1)
    proof = prove(net, pictures)
    assert not proof.passed
    assert any(part in proof.failure for part in said.split("|")), proof.failure


def test_a_network_that_does_not_react_proves_nothing(pictures):
    net = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1))
    nn.init.zeros_(net[0].weight)
    assert prove(net, pictures).failure.startswith("reacts to its input")


def test_what_cannot_be_tried_in_2d_is_noted(pictures):
    class Wilful(nn.Conv2d):
        def forward(self, x):
            if self.training or x.shape[-1] != 16:
                raise ValueError("not so")
            return super().forward(x)

    proof = prove(Wilful(3, 2, 3, padding=1), pictures)
    assert proof.passed, proof.failure
    assert proof.notes == ("the 2D network takes one size of picture", "2D training fails: not so")


def test_senseless_pictures(pictures):
    with pytest.raises(thirdaxis.UsageError, match="two or more pictures"):
        prove(Net(), pictures[:1])
    with pytest.raises(thirdaxis.InputError, match="cannot take pictures"):
        prove(Net(), pictures[:, :2])
