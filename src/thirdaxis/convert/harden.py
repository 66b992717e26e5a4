"""`harden`: a trained soft ACS network as an ACS network, each channel in the plane it leans to."""

from dataclasses import replace

from torch import nn

from thirdaxis.convert.carrier import Setting
from thirdaxis.convert.copies import copied
from thirdaxis.convert.entry import Method, Part
from thirdaxis.convert.forward import OnPictures
from thirdaxis.convert.lift import Conversion
from thirdaxis.convert.planting import layer_of
from thirdaxis.errors import UsageError
from thirdaxis.fusion.acs import ACS
from thirdaxis.fusion.channel_planes import ChannelPlanes
from thirdaxis.fusion.soft_acs import PlaneWeights, SoftACS

HARD = ACS(assign="learned")


def harden(net: nn.Module) -> nn.Module:
    """Gives every output channel of a ``soft_acs`` network its plane of the largest weight, alone.

    The result costs what ACS costs, a third of what the network did, and keeps all its weights but
    those of the planes. Kernels stay as they are, whose mean response in one plane is that in
    three. Where the weights have not come to 0 and 1 the answers differ: train on, or validate.
    Channels that lean to no plane keep that of ``acs``, so an untrained network becomes that.

    Its state dict loads into ``convert(net2d, ACS(assign="learned"))``.

    Args:
        net: a network that `convert` returned, with ``soft_acs`` in it; it is untouched.

    Returns:
        A copy with ``ACS(assign="learned")`` in its place.

    Raises:
        UsageError: no convolution of it is ``soft_acs``.
    """
    if not any(isinstance(module, PlaneWeights) for module in net.modules()):
        raise UsageError(
            "harden takes a network that was converted with 'soft_acs', and none of its "
            "convolutions has weights of planes"
        )
    hard = copied(net)
    for module in list(hard.modules()):
        for value in vars(module).values():
            if isinstance(value, Method):
                value.setting = _hardened(value.setting)
            if isinstance(value, Part) and value.outer is not None:
                value.outer = _hardened(value.outer)
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key, hook in hooks.items():
                if isinstance(hook, OnPictures):
                    hooks[key] = replace(hook, setting=_hardened(hook.setting))
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            _harden_convolution(module)
        done = vars(module).get("_thirdaxis")
        if isinstance(done, Conversion):
            parts = {name: _hardened(setting) for name, setting in done.parts.items()}
            module._thirdaxis = replace(done, setting=_hardened(done.setting), parts=parts)  # type: ignore[assignment]
    return hard


def _hardened(setting: Setting) -> Setting:
    return replace(setting, fusion=HARD) if isinstance(setting.fusion, SoftACS) else setting


def _harden_convolution(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    soft = conv._modules.get("fusion")
    if isinstance(soft, PlaneWeights):
        operator = ChannelPlanes(HARD, layer_of(conv), HARD.planes, HARD.split, judged=False)
        operator.assign(soft.leaning(operator.planes, conv.groups))
        conv.fusion = operator.train(conv.training)
