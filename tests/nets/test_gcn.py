import pytest
import torch
from monai.networks.blocks.fcn import MCFCN
from torch import nn

import thirdaxis
from thirdaxis.errors import UsageError
from thirdaxis.nets.gcn import GCN, PRINTED


def test_it_has_the_papers_parameters_and_convolutions():
    """Table 2 of the AH-Net paper."""
    with torch.device("meta"):
        net = GCN(1)
    assert sum(weight.numel() for weight in net.parameters()) == 23_576_758
    assert sum(isinstance(part, nn.Conv2d) for part in net.modules()) == 94


def monais_names(net):
    """Our names for MONAI's: its GCNs and first refinements count from the coarsest map."""
    table = {"init_proj.conv": "project.0", "init_proj.adn.N": "project.1", "bn0": "encoder.bn1"}
    table |= {"transformer": "unused", "refine10": "merge.0", "conv1": "encoder.conv1"}
    table |= {f"layer{i}": f"encoder.layer{i}" for i in range(1, 5)}
    for i in range(5):
        for theirs, ours in (("l1", "tall_wide.0"), ("l2", "tall_wide.1")):
            table[f"gcn{i + 1}.conv_{theirs}"] = f"score.{4 - i}.{ours}"
        for theirs, ours in (("r1", "wide_tall.0"), ("r2", "wide_tall.1")):
            table[f"gcn{i + 1}.conv_{theirs}"] = f"score.{4 - i}.{ours}"
        table[f"refine{i + 1}"] = f"refine.{4 - i}"
    # The steps up, coarsest first: the last of ours meets the second coarsest map.
    table |= {f"refine{6 + i}": f"merge.{1 + i}" for i in range(4)}
    return table


def under_our_names(state):
    table, inner = monais_names(state), {"bn": "norm", "conv1": "first", "conv2": "second"}
    renamed = {}
    for name, value in state.items():
        head = next(k for k in sorted(table, key=len, reverse=True) if name.startswith(k + "."))
        tail = name.removeprefix(head + ".")
        if head.startswith("refine"):
            part, _, leaf = tail.partition(".")
            tail = f"{inner[part]}.{leaf}"
        renamed[f"{table[head]}.{tail}"] = value
    return renamed


def test_it_is_the_network_of_monai():
    """Of five channels; in training, with the running statistics that this leaves, and after."""
    torch.manual_seed(0)
    theirs = MCFCN(in_channels=5, out_channels=2, pretrained=False).double()
    for norm in theirs.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight)
            norm.momentum = 1.0
    ours = GCN(2, in_channels=5).double()
    for norm in ours.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
    ours.load_state_dict(under_our_names(theirs.state_dict()))
    images = torch.randn(2, 5, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        for training in (True, False):
            expected = theirs.train(training)(images)
            assert expected.std() > 1e-3
            torch.testing.assert_close(ours.train(training)(images), expected)
    running = under_our_names(theirs.state_dict())
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, running[name])


def test_the_kernels_of_the_text_take_the_first_layer_too():
    net = GCN(2, resnet="resnet18", kernels=PRINTED).eval()
    tall = [score.tall_wide[0] for score in net.score]
    assert [conv.kernel_size for conv in tall] == [(n, 1) for n in (63, 31, 15, 9, 7, 5)]
    assert [conv.in_channels for conv in tall] == [64, 64, 64, 128, 256, 512]
    with torch.no_grad():
        assert net(torch.randn(1, 3, 50, 70)).shape == (1, 2, 50, 70)


@pytest.mark.parametrize("kernels", [(7, 7), (7, 7, 7, 7, 8), (7, 7, 7, 7, -1)])
def test_kernels_that_make_no_sense_are_refused(kernels):
    with pytest.raises(UsageError, match="5 or 6 odd sizes"):
        GCN(kernels=kernels)


def test_converted_it_sees_three_slices_as_the_paper_feeds_them():
    """The RGB stem over depth: slices d - 1, d, d + 1 are red, green, blue."""
    torch.manual_seed(0)
    net = GCN(3, resnet="resnet18").eval()
    net3d = thirdaxis.convert(net, "slicewise", in_channels=1, stem="depth", depth_stride=False)
    volume = torch.randn(1, 1, 4, 64, 64)
    with torch.no_grad():
        answer = net3d(volume)
        for d in (1, 2):
            torch.testing.assert_close(
                answer[:, :, d], net(volume[:, 0, d - 1 : d + 2]), rtol=1e-3, atol=1e-4
            )
            wrong = net(volume[:, 0, d - 1 : d + 2].flip(1))
            assert not torch.allclose(answer[:, :, d], wrong, rtol=1e-3, atol=1e-4)


def test_only_what_reads_the_picture_is_fitted_to_its_channels():
    net = thirdaxis.convert(GCN(3, in_channels=5, resnet="resnet18"), in_channels=1)
    assert net.project[0].in_channels == 1 and net.encoder.conv1.in_channels == 3
    assert all(refine.first.in_channels == 3 for refine in net.refine)


def test_every_parameter_but_the_unused_convolution_learns():
    net = GCN(2, resnet="resnet18")
    net(torch.randn(2, 3, 64, 64)).square().sum().backward()
    still = {name for name, weight in net.named_parameters() if weight.grad is None}
    assert still == {"unused.weight", "unused.bias"}
    assert not net.unused.weight.requires_grad
