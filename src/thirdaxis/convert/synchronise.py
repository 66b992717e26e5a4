"""Batch norms of a converted network that share their statistics over graphics cards."""

from torch import nn

from thirdaxis.convert.entry import Part
from thirdaxis.convert.private import BatchNorm


def synchronise(net: nn.Module) -> None:
    """Makes every batch norm inside a network a `SyncBatchNorm`, in place; keys stay as they are.

    `torch.nn.SyncBatchNorm.convert_sync_batchnorm` alone would give the norms of a converted
    network what hides their slices.

    Args:
        net: converted to volumes, or not.
    """
    for module in list(net.modules()):
        for name, norm in list(module.named_children()):
            if not isinstance(norm, BatchNorm) or isinstance(norm, nn.SyncBatchNorm):
                continue
            shared = nn.SyncBatchNorm.convert_sync_batchnorm(norm)
            shared.train(norm.training)
            part = vars(norm).get("forward")
            if isinstance(part, Part):
                told = part.setting, part.outer, part.handwritten
                vars(shared)["forward"] = Part(shared, *told)
            module._modules[name] = shared
