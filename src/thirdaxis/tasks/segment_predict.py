"""From a scan in any known format to a label map on the scan's own grid."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from thirdaxis.data.folder import Case, read_case
from thirdaxis.data.grid import onto
from thirdaxis.data.volume import Volume, write_labels
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.keep import BEST, read_checkpoint
from thirdaxis.tasks.pictures import draw_overlay
from thirdaxis.tasks.plan import Plan
from thirdaxis.tasks.preprocess import preprocessing
from thirdaxis.tasks.run_folder import read_run
from thirdaxis.tasks.scans import find_scans
from thirdaxis.tasks.segment_network import make_network
from thirdaxis.tasks.segment_settings import SegmentSettings
from thirdaxis.tasks.windows import logits_of


@dataclass(frozen=True)
class Segmenter:
    """A trained network and all it needs to be run on a scan."""

    net: nn.Module
    settings: SegmentSettings
    plan: Plan
    device: torch.device

    def __call__(self, scan: Volume) -> Tensor:
        """Segments a scan.

        Args:
            scan: (C, D, H, W) on any grid.

        Returns:
            Label values (D, H, W), int16, on the scan's own grid.

        Raises:
            InputError: another number of channels than the network was trained on.
        """
        channels = self.plan.channels
        if scan.array.shape[0] != len(channels):
            raise InputError(
                f"the scan has {scan.array.shape[0]} channels, the network was trained on "
                f"{len(channels)} ({', '.join(channels)})"
            )
        seen = preprocessing(self.settings, self.plan).image(scan)
        with _autocast(self.settings, self.device):
            logits = logits_of(
                self.net,
                seen.array,
                self.plan.patch,
                self.settings.overlap,
                thickness=seen.spacing[0],
            )
        probabilities = logits.softmax(0).cpu()
        return _likeliest(Volume(probabilities, seen.affine), scan)


def _likeliest(probabilities: Volume, like: Volume) -> Tensor:
    """The most probable class of each voxel of `like`, one class in memory at a time."""
    best = torch.full(like.shape, -1.0)
    labels = torch.zeros(like.shape, dtype=torch.int16)
    for value, one in enumerate(probabilities.array):
        moved = onto(Volume(one[None], probabilities.affine), like, mode="bilinear").array[0]
        better = moved > best
        labels[better] = value
        best = torch.where(better, moved, best)
    return labels


def pick_device(accelerator: str) -> torch.device:
    """The device to predict on.

    Args:
        accelerator: `auto`, `cpu` or `gpu`.

    Raises:
        UsageError: `gpu` where there is none.
    """
    if accelerator == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator == "gpu":
        raise UsageError("accelerator 'gpu' was asked for, but torch sees none; use 'cpu'")
    return torch.device("cpu")


def load_segmenter(run_folder: Path, accelerator: str | None = None) -> Segmenter:
    """Rebuilds the best network of a run.

    Args:
        run_folder: made by `train`.
        accelerator: `auto`, `cpu` or `gpu`; none takes the run's own.

    Returns:
        The network, ready to be called on scans.

    Raises:
        InputError: not a run folder, or a checkpoint that does not fit it.
    """
    run = read_run(run_folder)
    device = pick_device(accelerator or run.settings.accelerator)
    state = read_checkpoint(run_folder / BEST)["state_dict"]
    net = make_network(run.settings, run.plan, load=False).net
    inner = {
        name.removeprefix("net."): value for name, value in state.items() if name.startswith("net.")
    }
    try:
        net.load_state_dict(inner)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{run_folder / BEST}: does not fit the run's network ({reason})"
        ) from None
    return Segmenter(net.eval().to(device), run.settings, run.plan, device)


def predict(
    run_folder: Path,
    inputs: Path,
    out: Path,
    *,
    accelerator: str | None = None,
    picture: bool = False,
    watch: Callable[[Sequence[Case]], Iterable[Case]] = lambda cases: cases,
) -> list[Path]:
    """Writes a label map for each scan, on the scan's own grid, with its affine.

    Args:
        run_folder: made by `train`.
        inputs: a NIfTI, MetaImage or NRRD file, a folder of one DICOM series, or a folder of such.
        out: folder for the label maps, or for a single scan a name ending in `.nii.gz`.
        accelerator: `auto`, `cpu` or `gpu`; none takes the run's own.
        picture: whether to draw each result as a PNG beside it.
        watch: wraps the scans to show progress.

    Returns:
        The files written, one a scan.

    Raises:
        InputError: a scan that cannot be read or has other channels than the training scans.
        UsageError: an output that would overwrite an input, or one name for several scans.
    """
    segmenter = load_segmenter(run_folder, accelerator)
    scans = find_scans(inputs, len(segmenter.plan.channels))
    targets = _targets(scans, out)
    written = []
    for scan in watch(scans):
        target = targets[scan.name]
        volume, _ = read_case(scan, segmenter.plan.labels)
        try:
            labels = segmenter(volume)
        except InputError as error:
            raise InputError(f"{scan.images[0]}: {error}") from None
        target.parent.mkdir(parents=True, exist_ok=True)
        write_labels(target, labels, volume.affine)
        if picture:
            drawn = target.with_name(f"{scan.name}.png")
            draw_overlay(volume, labels, None, scan.name, drawn)
        written.append(target)
    return written


def _targets(scans: Sequence[Case], out: Path) -> dict[str, Path]:
    single = out.name.endswith((".nii", ".nii.gz"))
    if single and len(scans) > 1:
        raise UsageError(f"{out}: one file for {len(scans)} scans; name a folder")
    if not single and out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; name a folder, or a file ending in .nii.gz")
    targets = {scan.name: out if single else out / f"{scan.name}.nii.gz" for scan in scans}
    sources = {image.resolve() for scan in scans for image in scan.images}
    for target in targets.values():
        if target.resolve() in sources:
            raise UsageError(f"{target}: is one of the scans; name another output")
    return targets


def _autocast(settings: SegmentSettings, device: torch.device) -> AbstractContextManager[object]:
    if device.type != "cuda" or settings.precision == "32":
        return nullcontext()
    half = settings.precision == "16-mixed" or not torch.cuda.is_bf16_supported()
    if settings.precision == "auto" and half:
        return nullcontext()
    return torch.autocast("cuda", torch.float16 if half else torch.bfloat16)
