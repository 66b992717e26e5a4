import torch
import torch.nn.functional as F

from thirdaxis.nets.genesis import GenesisUNet
from thirdaxis.nets.pretrained import load_pretrained


def published():
    """Names and shapes of Genesis_Chest_CT.pt, written out from the layers it was trained with."""
    shapes = {}

    def step(name, into, out):
        shapes[f"{name}.conv1.weight"] = (out, into, 3, 3, 3)
        shapes[f"{name}.conv1.bias"] = (out,)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn1.{part}"] = (out,)
        shapes[f"{name}.bn1.num_batches_tracked"] = ()

    down = {64: (1, 32, 64), 128: (64, 64, 128), 256: (128, 128, 256), 512: (256, 256, 512)}
    for width, (into, between, out) in down.items():
        step(f"down_tr{width}.ops.0", into, between)
        step(f"down_tr{width}.ops.1", between, out)
    up = {256: (512, 768), 128: (256, 384), 64: (128, 192)}
    for width, (coarse, joined) in up.items():
        shapes[f"up_tr{width}.up_conv.weight"] = (coarse, coarse, 2, 2, 2)
        shapes[f"up_tr{width}.up_conv.bias"] = (coarse,)
        step(f"up_tr{width}.ops.0", joined, width)
        step(f"up_tr{width}.ops.1", width, width)
    shapes["out_tr.final_conv.weight"] = (1, 64, 1, 1, 1)
    shapes["out_tr.final_conv.bias"] = (1,)
    return shapes


def test_the_published_file_fills_it_whole(tmp_path):
    tensors = {
        f"module.{name}": torch.tensor(float(i))
        .expand(shape)
        .to(torch.int64 if name.endswith("tracked") else torch.float32)
        for i, (name, shape) in enumerate(published().items())
    }
    file = tmp_path / "Genesis_Chest_CT.pt"
    torch.save({"epoch": 1, "state_dict": tensors, "optimizer_state_dict": {}}, file)
    with torch.device("meta"):
        net = GenesisUNet()
    net.to_empty(device="cpu")
    report = load_pretrained(net, file)
    assert len(report.loaded) == len(tensors) and not report.skipped + report.missing
    state = net.state_dict()
    for name, value in tensors.items():
        assert bool((state[name.removeprefix("module.")] == value).all())


def test_skips_join_at_their_own_resolution():
    torch.manual_seed(0)
    with torch.device("meta"):
        net = GenesisUNet(2, 3).eval()
        assert net(torch.empty(1, 2, 16, 24, 32)).shape == (1, 3, 16, 24, 32)
    step = GenesisUNet(1, 1).up_tr64.eval()
    coarse, skip = torch.randn(1, 128, 2, 2, 2), torch.randn(1, 64, 4, 4, 4)
    with torch.no_grad():
        up = F.conv_transpose3d(coarse, step.up_conv.weight, step.up_conv.bias, 2)
        torch.testing.assert_close(step(coarse, skip), step.ops(torch.cat([up, skip], 1)))
        assert not torch.allclose(step(coarse, skip), step.ops(torch.cat([skip, up], 1)), atol=1e-3)
