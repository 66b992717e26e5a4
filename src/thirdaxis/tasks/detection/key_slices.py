"""What a trained detector finds on the key slices of a data set."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from thirdaxis.tasks.detection.data import HeldSlices, Slices, together
from thirdaxis.tasks.detection.module import Found, on_slice
from thirdaxis.tasks.engine import Watch, no_watch


def detect_slices(
    net: nn.Module, slices: Slices, batch: int = 1, watch: Watch = no_watch, workers: int = 0
) -> dict[str, Found]:
    """Looks for lesions on key slices.

    Args:
        net: a `LesionDetector` in evaluation mode, on the device to run on.
        slices: as the network sees them.
        batch: slices at once.
        watch: wraps the batches.
        workers: processes that read slices.

    Returns:
        Boxes (K, 4), in pixels of the slice itself, and scores (K,), by name of the slice.
    """
    device = next(net.parameters()).device
    loader = DataLoader(HeldSlices(slices), batch, collate_fn=together, num_workers=workers)
    found = {}
    for told in watch(loader, "looking for lesions"):  # type: ignore[arg-type]
        with torch.inference_mode():
            answers = net(told["image"].to(device), told["thickness"].to(device))
        for number, answer in zip(told["number"].tolist(), answers, strict=True):
            one = slices.slices[number]
            found[one.name] = on_slice(answer, one, slices.plan)
    return found
