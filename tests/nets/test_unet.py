import pytest
import torch
import torch.nn.functional as F

import thirdaxis
from thirdaxis.nets.unet import UNet


def test_parameter_count_is_the_published_one():
    assert sum(p.numel() for p in UNet(1, 6).parameters()) == 389_286


@pytest.mark.parametrize("size", [(48, 48), (35, 50), (4, 7)])
def test_answer_has_the_size_of_the_image(size):
    net = UNet(in_channels=2, classes=3).eval()
    image = torch.randn(1, 2, *size)
    assert net(image).shape == (1, 3, *size)
    assert net.features(image).shape == (1, 32, size[0] // 2, size[1] // 2)


def _written_out(weights: dict[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """The network again, from the figure in the paper, on the state dict alone."""

    def block(name: str, x: torch.Tensor) -> torch.Tensor:
        for conv, norm in ((0, 1), (3, 4)):
            x = F.conv2d(x, weights[f"{name}.{conv}.weight"], weights[f"{name}.{conv}.bias"], 1, 1)
            mean, var = (weights[f"{name}.{norm}.running_{k}"] for k in ("mean", "var"))
            scale, shift = (weights[f"{name}.{norm}.{k}"] for k in ("weight", "bias"))
            x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
            x = (x * scale[:, None, None] + shift[:, None, None]).clamp(min=0)
        return x

    def halve(x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).amax((3, 5))

    skip = halve(block("enc1", image))
    deep = halve(block("enc2", skip))
    low = block("dec1", torch.cat([skip, F.interpolate(deep, scale_factor=2, mode="bilinear")], 1))
    full = F.interpolate(low, scale_factor=2, mode="bilinear")
    return F.conv2d(full, weights["head.weight"], weights["head.bias"])


def test_structure_against_a_written_out_oracle():
    torch.manual_seed(0)
    net = UNet(1, 6)
    net(torch.randn(4, 1, 16, 16))  # moves the running statistics off 0 and 1
    net.eval()
    image = torch.randn(2, 1, 24, 16)
    with torch.no_grad():
        torch.testing.assert_close(net(image), _written_out(net.state_dict(), image))


@pytest.mark.parametrize(
    ("fusion", "count"), [("slicewise", 389_286), ("acs", 389_286), ("i3d", 1_164_582)]
)
def test_parameters_of_the_3d_networks_of_the_proof_of_concept(fusion, count):
    net3d = thirdaxis.convert(UNet(1, 6), fusion)
    assert sum(p.numel() for p in net3d.parameters()) == count
    assert net3d(torch.zeros(1, 1, 12, 16, 20)).shape == (1, 6, 12, 16, 20)
