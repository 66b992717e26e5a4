from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from thirdaxis.nets.licences import TORCHVISION, UNKNOWN, licence_of


@pytest.mark.parametrize(
    ("network", "weights", "licence"),
    [
        ("torchvision:resnet18", "library", TORCHVISION),
        # Its best weights come from SWAG, whose terms forbid commercial use.
        (
            "torchvision:vit_h_14",
            "library",
            "https://github.com/facebookresearch/SWAG/blob/main/LICENSE",
        ),
        ("torchvision:fcn_resnet50", "library", TORCHVISION),
        ("fcn:resnet18", "library", TORCHVISION),
        ("lidc:resnet18", "library", TORCHVISION),
        ("lidc:no_such_network", "library", UNKNOWN),
        ("timm:resnet18", "library", "apache-2.0"),
        ("timm:convnextv2_tiny", "library", "cc-by-nc-4.0"),
        ("timm:no_such_network", "library", UNKNOWN),
        ("torchvision:no_such_network", "library", UNKNOWN),
        ("smp:unet/resnet18", "library", UNKNOWN),
        ("torchvision:resnet18", Path("weights.pth"), UNKNOWN),
        ("unet", None, "none: random start"),
    ],
)
def test_the_licence_is_what_the_library_tells(network, weights, licence):
    assert licence_of(network, weights) == licence


def test_a_safetensors_file_may_tell_its_licence(tmp_path):
    told, silent, broken = (
        tmp_path / f"{name}.safetensors" for name in ("told", "silent", "broken")
    )
    save_file({"weight": torch.zeros(1)}, told, metadata={"license": "mit"})
    save_file({"weight": torch.zeros(1)}, silent)
    broken.write_bytes(b"weights")
    assert licence_of("unet", told) == "mit"
    for file in (silent, broken, tmp_path / "none.safetensors"):
        assert licence_of("unet", file) == UNKNOWN
