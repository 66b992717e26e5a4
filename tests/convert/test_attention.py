"""Which networks keep depth by default, told by their structure."""

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn
from torchvision import models

import thirdaxis
from thirdaxis.convert.attention import why_depth_is_kept

CONVOLUTIONAL = [
    *("resnet18", "seresnet18", "ecaresnet26t", "cspnet", "skresnet18", "resnest14d"),
    *("convnext_atto", "poolformer_s12", "repvit_m1", "fastvit_t8", "mambaout_femto"),
    *("mobilenetv3_small_050", "ghostnet_050", "inception_next_atto", "resnet26t"),
]
ATTENTION = [
    *("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "xcit_nano_12_p8_224"),
    *("coatnet_nano_rw_224", "mobilevit_xxs", "efficientvit_b0", "pvt_v2_b0", "cait_xxs24_224"),
    *("halonet_h1", "lowformer_b0", "swiftformer_xs", "edgenext_xx_small", "caformer_s18"),
    *("mobilenetv4_hybrid_medium", "botnet26t_256", "levit_128s", "volo_d1_224"),
]
MIXERS = ["mixer_s16_224", "resmlp_12_224", "gmlp_ti16_224", "convmixer_768_32", "sequencer2d_s"]


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model("cs3darknet_focus_s" if name == "cspnet" else name)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_pyramids_of_convolutions_stride_depth(name):
    assert why_depth_is_kept(on_meta(name)) == ""


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_keeps_depth(name):
    assert why_depth_is_kept(on_meta(name)).startswith("attention in ")


@pytest.mark.parametrize("name", MIXERS)
def test_mixers_keep_depth(name):
    assert why_depth_is_kept(on_meta(name))


def test_weighing_features_is_not_attention():
    for decoder, extra in (
        ("unet", {"decoder_attention_type": "scse"}),
        ("manet", {}),
        ("pan", {}),
    ):
        net = smp.create_model(decoder, "mobilenet_v2", encoder_weights=None, **extra)
        assert why_depth_is_kept(net) == ""
    assert why_depth_is_kept(models.regnet_y_400mf(weights=None)) == ""


class Gate(nn.Module):
    """The attention gate of Attention U-Net."""

    def __init__(self):
        super().__init__()
        self.W_g, self.W_x, self.psi = (nn.Conv2d(4, 4, 1) for _ in range(3))


class Home(nn.Module):
    """Attention as people write it by hand."""

    def __init__(self, *names):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        for name in names:
            self.add_module(name, nn.Linear(4, 4))


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (Gate(), ""),
        (Home("key_encoder", "value_head"), ""),
        (Home("query", "key", "value"), "attention in Home"),
        (Home("to_q", "to_kv"), "attention in Home"),
        (Home("query_conv", "key_conv", "value_conv"), "attention in Home"),
        (Home("convolution_projection_query", "convolution_projection_key"), "attention in Home"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), Home("to_qkv")), "attention in 1"),
        (nn.Sequential(Home("token_mixing", "channel_mixing")), "token mixing in 0"),
        (nn.MultiheadAttention(4, 2), "attention in MultiheadAttention"),
        (nn.Sequential(nn.Conv2d(3, 4, 8, 8)), "0 cuts patches of 8 x 8"),
        (nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 8, 8)), ""),
    ],
)
def test_by_structure(net, why):
    assert why_depth_is_kept(net) == why


def test_the_default_follows_the_network_and_can_be_overruled():
    conv = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1))
    patches = nn.Sequential(nn.Conv2d(1, 4, 8, 8), nn.Conv2d(4, 4, 3, 2, 1))
    volume = torch.zeros(1, 1, 8, 16, 16)

    def slices(net, told):
        return thirdaxis.convert(net, depth_stride=told)(volume).shape[2]

    assert [slices(conv, told) for told in (None, True, False)] == [4, 4, 8]
    assert [slices(patches, told) for told in (None, True, False)] == [8, 1, 8]
    assert "kept" in str(thirdaxis.report(thirdaxis.convert(patches), (1, 1, 8, 16, 16)))


class Looks(nn.Module):
    """Multi-head attention over patches, and its weights."""

    def __init__(self, **told):
        super().__init__()
        self.cut = nn.Conv2d(3, 12, 8, 8)
        self.look = nn.MultiheadAttention(12, 3, **told)

    def forward(self, x, reverse=False, **told):
        batch_first = self.look.batch_first
        tokens = self.cut(x).flatten(2)
        tokens = tokens.transpose(1, 2) if batch_first else tokens.permute(2, 0, 1)
        answer, weights = self.look(tokens.flip(-1) if reverse else tokens, tokens, tokens, **told)
        return answer if batch_first else answer.transpose(0, 1), weights


@pytest.mark.parametrize("made", [{}, {"batch_first": True}, {"add_bias_kv": True}])
@pytest.mark.parametrize(
    "told",
    [
        {},
        {"reverse": True},
        {"need_weights": False},
        {"average_attn_weights": False},
        {"attn_mask": torch.zeros(6, 6)},
        {"key_padding_mask": torch.tensor([[False] * 6, [True] + [False] * 5])},
    ],
    ids=lambda told: " ".join(told) or "plain",
)
def test_multi_head_attention_is_per_slice(made, told):
    torch.manual_seed(0)
    net, volume = Looks(**made).eval(), torch.randn(2, 3, 4, 24, 16)
    with torch.no_grad():
        answer, weights = thirdaxis.convert(net, "slicewise")(volume, **told)
        for i in range(4):
            expected, looked = net(volume[:, :, i], **told)
            torch.testing.assert_close(answer[:, i], expected)
            if looked is None:
                assert weights is None
            else:
                torch.testing.assert_close(weights.select(weights.dim() - 3, i), looked)
