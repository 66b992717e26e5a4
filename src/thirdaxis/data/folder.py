"""Training folders: Medical Segmentation Decathlon, nnU-Net v2 raw, and plain pairs of files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import ValidationError

from thirdaxis.data.classes import BACKGROUND, Classes, as_classes, regroup
from thirdaxis.data.layout import Decathlon, NnUNet
from thirdaxis.data.pairs import find_pairs, labels_beside
from thirdaxis.data.volume import Volume, file_ending, read_labels, read_volume, same_grid
from thirdaxis.errors import InputError


@dataclass(frozen=True)
class Case:
    """One scan: its name, one file a channel (or one file of several channels), its label map.

    `of_value` says which classes the label map's values are, see `thirdaxis.data.classes.Classes`.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None
    of_value: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class Folder:
    """A training folder: classes (0 = background), names of the channels, labelled cases."""

    root: Path
    labels: dict[int, str]
    modalities: dict[int, str]
    cases: tuple[Case, ...]


def read_folder(root: str | Path, labels: Mapping[str, Sequence[int]] | None = None) -> Folder:
    """Reads `dataset.json` and finds the files of every training case, without opening them.

    Three layouts are known: the Medical Segmentation Decathlon's (`training` lists image and label
    files, Antonelli et al., The Medical Segmentation Decathlon, 2022), nnU-Net v2's
    (`imagesTr/CASE_0000.nii.gz` for each channel and `labelsTr/CASE.nii.gz`, Isensee et al.,
    nnU-Net, 2021), and, without `dataset.json`, `images/` beside `masks/` or `labels/` with files
    of equal names, one channel. macOS companion files (`._x`) are passed over.

    Args:
        root: the folder.
        labels: class name -> label values, see `thirdaxis.data.classes.regroup`; none takes the
            data set's own, or for plain pairs 1 as `foreground`.

    Returns:
        The folder, its cases sorted by name.

    Raises:
        InputError: no or an invalid `dataset.json`, no cases, or files that are missing.
        UsageError: `labels` that the data set does not have.
    """
    root = Path(root)
    own: dict[int, str] | None = None
    channels = {0: "image"}
    if not (root / "dataset.json").is_file() and labels_beside(root):
        cases = [Case(name, (image,), label) for name, image, label in find_pairs(root)]
    else:
        layout = _read_layout(root)
        own, channels = layout.label_names(), layout.channel_table()
        cases = _decathlon(root, layout) if isinstance(layout, Decathlon) else _nnunet(root, layout)
    if labels is not None:
        classes = regroup(labels, own, str(root))
    else:
        named = own or {0: BACKGROUND, 1: "foreground"}
        classes = Classes(tuple(named[value] for value in sorted(named)))
    if not cases:
        raise InputError(f"{root}: no training cases; fill the folders of images and of labels")
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{root / 'dataset.json'}: cases listed twice: {', '.join(twice[:3])}")
    files = [file for case in cases for file in (*case.images, case.label) if file is not None]
    missing = [str(file.relative_to(root)) for file in files if not file.is_file()]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(f"{root}: {len(missing)} of {len(files)} files are missing: {shown}")
    cases.sort(key=lambda case: case.name)
    grouped = tuple(replace(case, of_value=classes.of_value) for case in cases)
    return Folder(root, classes.table(), channels, grouped)


def read_case(case: Case, labels: Mapping[int, str]) -> tuple[Volume, Volume | None]:
    """Reads the image and the label map of a case and checks that they belong together.

    Args:
        case: files of one scan.
        labels: the classes that may occur.

    Returns:
        The image, (C, D, H, W) float32 with the channels of all files, and the label map,
        (1, D, H, W) classes, or None for a case without one.

    Raises:
        InputError: files that cannot be read, channels or label on different grids, or label
            values that are not in `labels`.
    """
    parts = [read_volume(path) for path in case.images]
    for path, part in zip(case.images[1:], parts[1:], strict=True):
        _check_grid(case.images[0], parts[0], path, part)
    image = Volume(torch.cat([part.array for part in parts]), parts[0].affine)
    if case.label is None:
        return image, None
    label = read_labels(case.label)
    _check_grid(case.images[0], image, case.label, label)
    label = Volume(as_classes(label.array, case.of_value), label.affine)
    unknown = sorted(set(label.array.unique().tolist()) - set(labels))
    if unknown:
        raise InputError(
            f"{case.label}: label values {', '.join(map(str, unknown[:5]))} are not those of the "
            f"data set, {', '.join(f'{k} ({v})' for k, v in sorted(labels.items()))}; "
            "correct dataset.json, or name the classes by the setting labels"
        )
    return image, label


def _check_grid(a_path: Path, a: Volume, b_path: Path, b: Volume) -> None:
    if same_grid(a, b):
        return
    raise InputError(
        f"{b_path}: not on the grid of {a_path.name}: {_grid_text(b)}, expected {_grid_text(a)}; "
        "resample it onto the image"
    )


def _grid_text(volume: Volume) -> str:
    d, h, w = volume.shape
    spacing = " x ".join(f"{step:.4g}" for step in volume.spacing)
    origin = ", ".join(f"{place:.1f}" for place in volume.affine[:3, 3].tolist())
    return f"{d} x {h} x {w} voxels of {spacing} mm from ({origin})"


def _read_layout(root: Path) -> Decathlon | NnUNet:
    path = root / "dataset.json"
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    if not path.is_file():
        state = "has no dataset.json" if any(root.iterdir()) else "is empty"
        raise InputError(
            f"{root}: {state}; expected a folder with dataset.json, imagesTr and labelsTr "
            "(Medical Segmentation Decathlon or nnU-Net v2), or with images and masks"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as fault:
        raise InputError(f"{path}: not valid JSON ({fault})") from fault
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(content).__name__}")
    form = NnUNet if "channel_names" in content else Decathlon
    try:
        return form.model_validate(content)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(map(str, first["loc"])) or "labels"
        raise InputError(
            f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}"
        ) from fault


def _decathlon(root: Path, layout: Decathlon) -> list[Case]:
    cases = []
    for pair in layout.training:
        image, label = root / pair.image, root / pair.label
        if image.name.startswith("._"):
            continue
        cases.append(Case(image.name.removesuffix(file_ending(image)), (image,), label))
    return cases


def _nnunet(root: Path, layout: NnUNet) -> list[Case]:
    ending = layout.file_ending
    channels = [f"_{number:04d}{ending}" for number in layout.channel_table()]
    labels = [path.name.removesuffix(ending) for path in _files(root / "labelsTr", ending)]
    images = [path.name[: -len(f"_0000{ending}")] for path in _files(root / "imagesTr", ending)]
    return [
        Case(
            name,
            tuple(root / "imagesTr" / f"{name}{channel}" for channel in channels),
            root / "labelsTr" / f"{name}{ending}",
        )
        for name in sorted({*labels, *images})
    ]


def _files(folder: Path, ending: str) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return [path for path in folder.glob(f"*{ending}") if not path.name.startswith(".")]
