import torch
from torchvision.models import densenet121

from thirdaxis.nets.densenet import TruncatedDenseNet121


def test_maps_are_those_of_the_whole_network():
    torch.manual_seed(0)
    whole, net = densenet121(weights=None).eval(), TruncatedDenseNet121().eval()
    theirs = whole.state_dict()
    net.load_state_dict({name: theirs[name] for name in net.state_dict()})
    seen = []
    for number in (1, 2, 3):
        block = getattr(whole.features, f"denseblock{number}")
        block.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        whole(image)
        maps = net(image)
    for ours, expected, width, stride in zip(maps, seen, net.channels, net.strides, strict=True):
        assert ours.shape == (1, width, 64 // stride, 96 // stride)
        torch.testing.assert_close(ours, expected)


def test_it_has_the_layers_of_the_papers():
    net = TruncatedDenseNet121()
    assert sum(p.numel() for p in net.parameters()) == 4_267_392
    assert [name for name, _ in net.features.named_children()][-1] == "denseblock3"
    layers = [name for name, _ in net.named_modules() if ".denselayer" in name]
    assert len({name.split(".")[2] + name.split(".")[1] for name in layers}) == 6 + 12 + 24
