"""Precisions, memory formats and functional use: the numbers are those of the ordinary call."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

import thirdaxis
from thirdaxis.fusion.table import ON_CONVOLUTIONS
from thirdaxis.nets.unet import UNet


@pytest.fixture
def volume():
    torch.manual_seed(0)
    return torch.randn(2, 3, 5, 16, 16)


@pytest.fixture
def unet(operator, told, volume):
    """Makes a converted network that is called with the volume alone."""

    def make(fusion):
        torch.manual_seed(0)
        net = thirdaxis.convert(UNet(3, 2).eval(), operator(fusion, 5))
        net.register_forward_pre_hook(partial(tell, told(fusion, volume)), with_kwargs=True)
        return net

    return make


def tell(given, net, args, kwargs):
    return args, kwargs | given


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_weights(fusion, dtype, volume, unet):
    net = unet(fusion)
    expected = net(volume)
    low = copy.deepcopy(net).to(dtype)
    found = low(volume.to(dtype))
    assert found.dtype == dtype and low.enc1[0].weight.dtype == dtype
    spread = expected.std().item()
    error = (found.float() - expected).square().mean().sqrt().item()
    assert 0 < error < 20 * torch.finfo(dtype).eps * spread
    found.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in low.parameters())


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
def test_autocast_runs_convolutions_low_and_trains_in_full_precision(fusion, volume, unet):
    net = unet(fusion).train()
    expected = net(volume)
    seen = []
    net.enc1[0].register_forward_hook(lambda part, args, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        found = net(volume)
        loss = found.float().square().mean()
    loss.backward()
    assert seen == [torch.bfloat16] and found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)
    assert all(p.grad.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
def test_channels_last(fusion, volume, unet):
    net = unet(fusion)
    expected = net(volume)
    ordered = volume.to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(net(ordered), expected, rtol=1e-4, atol=1e-5)
    for parameter in net.parameters():
        orders = {4: torch.channels_last, 5: torch.channels_last_3d}
        order = orders.get(parameter.dim(), torch.preserve_format)
        parameter.data = parameter.data.to(memory_format=order)
    torch.testing.assert_close(net(ordered), expected, rtol=1e-4, atol=1e-5)


def seen_between_layers(net, image, look):
    """What `look` tells of every layer's answer, in order."""
    found = []
    for part in net.modules():
        if not list(part.children()):
            part.register_forward_hook(lambda part, args, out: found.append(look(out)))
    net(image)
    return found


@pytest.mark.parametrize("depth_stride", [True, False])
@pytest.mark.parametrize("fusion", ["slicewise", "acs", "i3d", "mean_acs"])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last_3d])
def test_order_of_memory_is_kept(fusion, order, depth_stride, volume):
    """Through pools, resizes and joins too: each change of order would be a copy."""
    net = thirdaxis.convert(UNet(3, 2), fusion, depth_stride=depth_stride)

    def kept(x):
        return thirdaxis.reveal(x).is_contiguous(memory_format=order)

    *found, _ = seen_between_layers(net, volume.to(memory_format=order), kept)
    assert len(found) == 20 and all(found)  # in the small head, torch chooses the order


@pytest.mark.parametrize("depth_stride", [True, False])
def test_autocast_takes_the_precision_of_the_2d_network_in_every_layer(depth_stride, volume):
    torch.manual_seed(0)
    net2d = UNet(3, 2)
    net3d = thirdaxis.convert(net2d, "acs", depth_stride=depth_stride)
    with torch.autocast("cpu", torch.bfloat16):
        flat = seen_between_layers(net2d, volume[:, :, 0], lambda x: x.dtype)
        deep = seen_between_layers(net3d, volume, lambda x: x.dtype)
    assert deep == flat and torch.bfloat16 in flat


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
def test_functional_call(fusion, volume, unet):
    net, other = unet(fusion), unet(fusion)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    weights = dict(other.named_parameters())
    torch.testing.assert_close(functional_call(net, weights, (volume,)), other(volume))

    def loss(weights):
        return functional_call(net, weights, (volume,)).square().mean()

    other(volume).square().mean().backward()
    for name, gradient in torch.func.grad(loss)(weights).items():
        torch.testing.assert_close(gradient, weights[name].grad)


def test_an_ensemble_by_vmap(volume):
    torch.manual_seed(0)
    nets = [
        thirdaxis.convert(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 2, 3)))
        for _ in range(3)
    ]
    weights, buffers = stack_module_state(nets)

    def run(weights, buffers):
        return functional_call(nets[0], (weights, buffers), (volume,))

    found = torch.vmap(run)(weights, buffers)
    torch.testing.assert_close(found, torch.stack([net(volume) for net in nets]))
