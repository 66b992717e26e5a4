"""The networks of the zoo: names a suite, and how to build each with random weights."""

import random
import re
from collections.abc import Callable, Iterator

import segmentation_models_pytorch as smp
import timm
import torch
import transformers
from torch import nn
from torchvision import models
from torchvision.models.detection import backbone_utils

from thirdaxis.convert.attention import why_depth_is_kept

SIDES = (64, 96, 128, 160, 192, 224, 256, 288, 299, 320, 384, 512)
ENCODERS = (
    *("resnet18", "mobilenet_v2", "efficientnet-b0", "densenet121", "mit_b0"),
    *("timm-regnetx_002", "tu-convnext_atto"),
)
DPT_ENCODERS = (
    *("tu-vit_tiny_patch16_224", "tu-vit_small_patch32_224", "tu-deit_tiny_patch16_224"),
    "tu-flexivit_small",
)


class Picked(nn.Module):
    """A part of a network on its own, or the tensors of its answer that have a name."""

    def __init__(self, net: nn.Module, call: Callable | None = None) -> None:
        super().__init__()
        self.net, self.call = net, call

    def forward(self, x: torch.Tensor) -> object:
        """Calls the network."""
        return self.net(x) if self.call is None else self.call(self.net, x)


def torchvision_names() -> list[str]:
    """Every classifier and every segmentation network."""
    return [*models.list_models(models), *models.list_models(models.segmentation)]


def torchvision_network(name: str) -> Iterator[nn.Module]:
    """A network with random weights; the vision transformers for small pictures."""
    told: dict[str, object] = {"weights": None}
    if name in {"googlenet", "inception_v3"}:
        told["init_weights"] = False  # minutes of truncated normals
    if name in models.list_models(models.segmentation):
        told["weights_backbone"] = None
    if name.startswith("vit_"):
        told["image_size"] = 56 if name == "vit_h_14" else 64
    yield models.get_model(name, **told)


def detection_names() -> list[str]:
    """The detectors, whose backbones are meant, and the functions that build backbones."""
    by_function = [
        *(f"resnet_fpn_backbone/{n}" for n in ("resnet18", "resnet50", "resnext50_32x4d")),
        *(f"mobilenet_backbone/{n}" for n in ("mobilenet_v2", "mobilenet_v3_small")),
    ]
    return [*models.list_models(models.detection), *by_function]


def detection_network(name: str) -> Iterator[nn.Module]:
    """The backbone of a detector, feature pyramid and all."""
    function, _, backbone = name.partition("/")
    if backbone:
        build, told = getattr(backbone_utils, function), {"backbone_name": backbone}
        if function == "mobilenet_backbone":
            told["fpn"] = True
        yield build(weights=None, norm_layer=nn.BatchNorm2d, **told)
    else:
        yield models.get_model(name, weights=None, weights_backbone=None).backbone


def smp_names() -> list[str]:
    """Every decoder with several encoders; those that a decoder refuses are left out."""
    found = []
    for decoder in sorted(smp.MODEL_ARCHITECTURES_MAPPING):
        found += [f"{decoder}/{e}" for e in (DPT_ENCODERS if decoder == "dpt" else ENCODERS)]
    return found


def smp_network(name: str) -> Iterator[nn.Module]:
    """A decoder on an encoder."""
    decoder, _, encoder = name.partition("/")
    told = {"dynamic_img_size": True} if decoder == "dpt" else {}
    yield smp.create_model(decoder, encoder, encoder_weights=None, classes=3, **told)


def timm_sizes(module: str) -> list[tuple[int, str, bool]]:
    """Every architecture of a timm module: parameters, name, whether depth is kept; small first."""
    found = []
    for name in timm.list_models(module=module):
        if name.startswith("test_"):
            continue
        with torch.device("meta"):
            net = timm.create_model(name)
        parameters = sum(p.numel() for p in net.parameters())
        found.append((parameters, name, bool(why_depth_is_kept(net))))
    return sorted(found)


def timm_names() -> list[str]:
    """The smallest architecture of each timm module, and of each of its two kinds if it has both.

    The kinds are those whose depth is strided and those whose depth is kept by default.
    """
    found = []
    for module in timm.list_modules():
        rows = timm_sizes(module)
        for kept in (False, True):
            found += [f"{module}/{name}" for _, name, keeps in rows if keeps == kept][:1]
    return found


def timm_other_names(count: int = 40) -> list[str]:
    """A random architecture of up to 100 million parameters from each of so many timm modules."""
    chance = random.Random(3)
    found = []
    for module in chance.sample(timm.list_modules(), count):
        rest = [f"{module}/{name}" for size, name, _ in timm_sizes(module)[1:] if size < 1e8]
        found += [chance.choice(rest)] if rest else []
    return sorted(found)


def timm_network(name: str) -> Iterator[nn.Module]:
    """An architecture for small pictures where it can be told so, then as it is."""
    architecture = name.rpartition("/")[2]
    for side in (64, 96, 112, 128):
        try:
            yield timm.create_model(architecture, img_size=side)
        except (TypeError, AssertionError, ValueError, RuntimeError, IndexError):
            continue
    yield timm.create_model(architecture)


def transformers_names() -> list[str]:
    """Networks of Hugging Face's library, from small configurations."""
    return sorted(TRANSFORMERS)


TRANSFORMERS: dict[str, dict[str, object]] = {
    "ConvNext": {"hidden_sizes": [12, 24, 36, 48], "depths": [1, 1, 2, 1]},
    "ConvNextV2": {"hidden_sizes": [12, 24, 36, 48], "depths": [1, 1, 2, 1]},
    "ResNet": {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]},
    "RegNet": {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]},
    "Bit": {"embedding_size": 32, "hidden_sizes": [128, 256, 256, 512], "depths": [1, 1, 1, 1]},
    "MobileNetV1": {},
    "MobileNetV2": {},
    "EfficientNet": {"width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640},
    "MobileViT": {},
    "PvtV2": {"hidden_sizes": [16, 32, 80, 64], "depths": [1, 1, 1, 1]},
    "Segformer": {"hidden_sizes": [16, 32, 80, 64], "depths": [1, 1, 1, 1]},
    "Swin": {"image_size": 64, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4]},
    "Swinv2": {"image_size": 64, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4]},
    "ViT": {"image_size": 64},
    "DeiT": {"image_size": 64},
    "Dinov2": {"image_size": 56},
    "PoolFormer": {"hidden_sizes": [16, 32, 64, 64], "depths": [1, 1, 1, 1]},
    "DPT": {"image_size": 64, "backbone_out_indices": [0, 0, 1, 1]},
    "Beit": {"image_size": 64},
    "FocalNet": {"image_size": 64, "embed_dim": 24, "depths": [1, 1, 2, 1]},
    "Cvt": {"embed_dim": [16, 32, 48], "depth": [1, 2, 3], "num_heads": [1, 2, 3]},
    "GLPN": {"hidden_sizes": [16, 32, 80, 64], "depths": [1, 1, 1, 1]},
    "LevitForImageClassification": {"image_size": 224},
    "SegformerForSemanticSegmentation": {"hidden_sizes": [16, 32, 80, 64], "depths": [1, 1, 1, 1]},
    "ConvNextForImageClassification": {"hidden_sizes": [12, 24, 36, 48], "depths": [1, 1, 2, 1]},
}
SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}


def transformers_network(name: str) -> Iterator[nn.Module]:
    """A network of a small configuration, with nothing fetched."""
    family, task = re.fullmatch(r"(.+?)(For[A-Z]\w*)?", name).groups()
    config = getattr(transformers, f"{family}Config")
    told = dict(TRANSFORMERS[name])
    if family in {"ViT", "DeiT", "Dinov2", "Beit", "DPT"}:
        told |= SMALL | ({"intermediate_size": 96} if family != "Dinov2" else {})
    yield getattr(transformers, f"{family}{task or 'Model'}")(config(**told))


SUITES: dict[str, tuple[Callable[[], list[str]], Callable[[str], Iterator[nn.Module]]]] = {
    "torchvision": (torchvision_names, torchvision_network),
    "detection": (detection_names, detection_network),
    "smp": (smp_names, smp_network),
    "timm": (timm_names, timm_network),
    "timm-others": (timm_other_names, timm_network),
    "transformers": (transformers_names, transformers_network),
}


def woken(net: nn.Module) -> nn.Module:
    """Parameters that start near zero, such as layer scales, get values: nothing hides behind them.

    A block whose answer is scaled by 1e-6 could be wrong without being seen, and convolutions that
    start much smaller than their inputs are many would leave nothing of the picture.
    """
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.is_floating_point() and parameter.abs().max() < 1e-3:
                parameter.normal_(std=0.1)
            if parameter.dim() == 4 and parameter.numel() > 1:
                gain = parameter.std() * parameter[0].numel() ** 0.5
                if 0 < gain < 0.5:
                    parameter.div_(gain)
    return net


class NotIn2D(Exception):
    """The 2D network itself cannot be built, or takes no picture of any of the sizes."""


def network_and_side(suite: str, name: str) -> tuple[nn.Module, int]:
    """A network with random weights, and the smallest side of a picture that it takes.

    Raises:
        NotIn2D: it cannot be built, or takes none of the sizes that were tried.
    """
    reason = "the library builds nothing"
    torch.manual_seed(0)
    try:
        for net in SUITES[suite][1](name):
            for side in (*SIDES[:1], 56, *SIDES[1:]):
                try:
                    with torch.no_grad():
                        net.eval()(torch.randn(2, 3, side, side))
                    return woken(net), side
                except Exception as error:  # libraries raise whatever they like
                    reason = (
                        f"{side} x {side}: {(str(error).strip() or repr(error)).splitlines()[0]}"
                    )
    except MemoryError:
        raise
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
    raise NotIn2D(reason)
