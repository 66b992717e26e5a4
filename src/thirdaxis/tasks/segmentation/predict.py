"""Scans in any known format to label maps on their own grids: one, or a folder that may be long."""

import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from thirdaxis.data.dicom.seg import write_seg
from thirdaxis.data.folder import Case, read_case
from thirdaxis.data.volume import file_ending, read_labels, write_labels
from thirdaxis.errors import InputError, UsageError, did_you_mean
from thirdaxis.tasks.batch import Done, check_folder, one_by_one
from thirdaxis.tasks.model import Model
from thirdaxis.tasks.pictures import draw_overlay
from thirdaxis.tasks.progress import Told, tell_nobody
from thirdaxis.tasks.scans import find_scans
from thirdaxis.tasks.segmentation.model import load_segmenter
from thirdaxis.tasks.segmentation.probabilities import probabilities_to
from thirdaxis.tasks.segmentation.segmenter import Inference, Segmenter

FORMATS = ("nifti", "dicom-seg", "both")
ENDINGS = (".nii.gz", ".dcm", ".npz", ".png")


@dataclass(frozen=True)
class Outputs:
    """What is written for a scan, beside each other under one name.

    Args:
        format: the label map as `nifti` (`.nii.gz`), as `dicom-seg` (`.dcm`, for scans that are
            DICOM series), or as `both`, where a scan is a DICOM series.
        picture: three planes as `.png`.
        probabilities: of each class, as `.npz`; see `thirdaxis.tasks.segmentation.probabilities`.
        overwrite: whether scans are done again whose files exist and are whole.

    Raises:
        UsageError: another format.
    """

    format: str = "nifti"
    picture: bool = False
    probabilities: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UsageError(f"no format {self.format!r}{did_you_mean(self.format, FORMATS)}")

    def files(self, stem: Path, scan: Case) -> dict[str, Path]:
        """The files of a scan by their endings, the label map first."""
        series = scan.images[0].is_dir()
        wanted = {
            ".nii.gz": self.format != "dicom-seg",
            ".dcm": self.format == "dicom-seg" or (self.format == "both" and series),
            ".npz": self.probabilities,
            ".png": self.picture,
        }
        return {end: stem.with_name(stem.name + end) for end, asked in wanted.items() if asked}


def predict(
    model: str | Path | Model,
    inputs: Path,
    out: Path,
    how: Inference | None = None,
    outputs: Outputs | None = None,
    *,
    accelerator: str | None = None,
    trust: bool = False,
    watch: Callable[[Sequence[Case]], Iterable[Case]] = lambda cases: cases,
    told: Told = tell_nobody,
    say: Callable[[str], None] = lambda line: None,
) -> Done[Path]:
    """Writes a label map for each scan, on the scan's own grid, with its affine.

    Of several scans, those that cannot be read or used are left out and told at the end, and those
    whose files are there and whole are not done again.

    Args:
        model: a run folder, or a trained model in any form that `load_model` reads.
        inputs: a NIfTI, MetaImage or NRRD file, a folder of one DICOM series, or a folder of such.
        out: folder for the label maps, or for a single scan a name ending in `.nii.gz`.
        how: how the network is run; none as the run says.
        outputs: what is written; none writes `.nii.gz` label maps.
        accelerator: `auto`, `cpu` or `gpu`; none takes the run's own.
        trust: whether a program that the model names as its network may be called.
        watch: wraps the scans to show progress.
        told: called with the windows done of the scan at hand, and their number.
        say: told each label map as it is written or found.

    Returns:
        What became of each scan; of those done now, the label map.

    Raises:
        InputError: the only scan cannot be read or has other channels than the training scans.
        UsageError: an output that would overwrite an input, or one name for several scans.
    """
    outputs, how = outputs or Outputs(), how or Inference()
    segmenter = load_segmenter(model, accelerator, trust=trust)
    segmenter.labels_kept_whole(how)  # a wrong name is told before the first scan
    scans = find_scans(inputs, len(segmenter.plan.channels))
    stems = _stems(scans, out)
    if outputs.format != "nifti":
        import_module("highdicom")  # a missing package is told before the first scan
    files = {scan.name: outputs.files(stems[scan.name], scan) for scan in scans}
    label_maps = {name: next(iter(paths.values())) for name, paths in files.items()}

    def segment(scan: Case) -> Path:
        _segment(segmenter, scan, how, files[scan.name], told)
        say(str(label_maps[scan.name]))
        return label_maps[scan.name]

    return one_by_one(
        scans,
        segment,
        lambda scan: not outputs.overwrite and _whole(files[scan.name]),
        lambda scan: label_maps[scan.name],
        watch=watch,
        say=say,
    )


def _segment(
    segmenter: Segmenter, scan: Case, how: Inference, files: dict[str, Path], told: Told
) -> None:
    """Writes the files of one scan, the label map last."""
    source = scan.images[0]
    if ".dcm" in files and not source.is_dir():
        raise InputError(f"{source}: not a DICOM series; --format nifti writes label maps of it")
    volume, _ = read_case(scan, segmenter.plan.labels)
    try:
        segmenter.check(volume)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    labels_of = segmenter.plan.labels
    next(iter(files.values())).parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as opened:
        keep = None
        if ".npz" in files:
            turned = segmenter.turned(volume)
            keep = opened.enter_context(probabilities_to(files[".npz"], volume, turned, labels_of))
        labels = segmenter(volume, how, keep=keep, told=told)
    if ".png" in files:
        draw_overlay(volume, labels, None, scan.name, files[".png"])
    if ".dcm" in files:
        write_seg(files[".dcm"], labels, source, labels_of)
    if ".nii.gz" in files:
        write_labels(files[".nii.gz"], labels, volume.affine)


def _whole(files: dict[str, Path]) -> bool:
    """Whether a scan's files are there and can be read to their ends."""
    if not all(path.is_file() for path in files.values()):
        return False
    try:
        for ending, path in files.items():
            if ending == ".nii.gz":
                read_labels(path)
            if ending == ".npz" and zipfile.ZipFile(path).testzip():
                return False
    except (InputError, zipfile.BadZipFile):
        return False
    return True


def _stems(scans: Sequence[Case], out: Path) -> dict[str, Path]:
    """The place and name of each scan's files, without their endings."""
    ending = file_ending(out)
    single = ending in (".nii.gz", ".dcm")
    if single and len(scans) > 1:
        raise UsageError(f"{out}: one file for {len(scans)} scans; name a folder")
    if not single:
        check_folder(out, "name a folder, or a file ending in .nii.gz")
    stems = {
        scan.name: out.with_name(out.name[: -len(ending)]) if single else out / scan.name
        for scan in scans
    }
    sources = {image.resolve() for scan in scans for image in scan.images}
    for stem in stems.values():
        for ending in ENDINGS:
            target = stem.with_name(stem.name + ending)
            if target.resolve() in sources:
                raise UsageError(f"{target}: is one of the scans; name another output")
    return stems
