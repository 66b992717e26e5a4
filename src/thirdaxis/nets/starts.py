"""Random starts of 3D networks: every tap along depth is drawn, which inflated kernels repeat."""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from thirdaxis.errors import UsageError, did_you_mean

STARTS = ("kaiming", "xavier")
CONVOLUTIONS = nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d
NORMS = nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm


def start_anew(net: nn.Module, rule: str, *, zero_last_norm: bool = False) -> None:
    """Draws the kernels of a network anew, converted or not; linear layers keep their start.

    A converted network of random 2D kernels repeats each of them along depth; a 3D network that is
    to be trained from nothing, or filled from 3D weights in part, starts from kernels of its own.

    Args:
        net: changed in place.
        rule: ``"kaiming"``, normal by the number of outputs, torchvision's for ResNets (He et al.,
            2015), or ``"xavier"``, uniform (Glorot and Bengio, 2010), which Zhang et al. (SVD-Net,
            2022) take.
        zero_last_norm: whether the last norm of every residual block starts at zero, so that a
            block starts as the identity (Goyal et al., "Accurate, Large Minibatch SGD", 2017).

    Raises:
        UsageError: an unknown rule, or a network without residual blocks of torchvision.
    """
    if rule not in STARTS:
        raise UsageError(f"start: unknown rule {rule!r}{did_you_mean(str(rule), STARTS)}")
    for module in net.modules():
        if isinstance(module, CONVOLUTIONS):
            if rule == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, NORMS) and module.affine:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    if zero_last_norm:
        _silence_blocks(net)


def _silence_blocks(net: nn.Module) -> None:
    blocks = [m for m in net.modules() if isinstance(m, BasicBlock | Bottleneck)]
    if not blocks:
        raise UsageError("zero_last_norm needs residual blocks of torchvision, which are not here")
    for block in blocks:
        last = block.bn3 if isinstance(block, Bottleneck) else block.bn2
        weight = last.weight
        assert isinstance(weight, Tensor)
        nn.init.zeros_(weight)
