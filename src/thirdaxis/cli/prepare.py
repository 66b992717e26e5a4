"""`thirdaxis prepare`: data sets in the form of their makers, made ready for training."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thirdaxis.cli.display import say, watched
from thirdaxis.cli.faults import show

if TYPE_CHECKING:
    from thirdaxis.data.lesions.key_slice import KeySlice

prepare = typer.Typer(
    no_args_is_help=True, help="Make a data set ready for training, from its makers' own files."
)


@prepare.callback()
def _group() -> None:  # a group of one verb needs it to stay a group
    pass


@prepare.command("lesion-masks")
def lesion_masks(
    folder: Annotated[
        Path, typer.Argument(help="DeepLesion as published, or a folder of CT scans with --boxes.")
    ],
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="Table of boxes (.csv, .json), or label maps (labels, labels:2), in FOLDER."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File of the outlines; run again, it is completed.")
    ] = Path("lesion-masks.json"),
    picture: Annotated[
        Path | None, typer.Option(help="PNG that shows ten of them, spread over the set.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
    leave_out_faulty: Annotated[
        bool, typer.Option("--leave-out-faulty", help="Tell faulty lesions and do the others.")
    ] = False,
) -> None:
    """Outline lesions by GrabCut from their diameters and boxes, once, for detectors with masks."""
    from thirdaxis.data.lesions.boxes import read_lesion_boxes
    from thirdaxis.data.lesions.deeplesion import read_deeplesion
    from thirdaxis.data.lesions.masks import masks_of
    from thirdaxis.data.lesions.picture import picture_of_masks

    faults: list[str] | None = [] if leave_out_faulty else None
    if boxes is None:
        lesions = read_deeplesion(folder, faults=faults)
    else:
        lesions = read_lesion_boxes(folder, folder / boxes, faults=faults)
    for fault in faults or ():
        show(fault)
    made: list[int] = []

    def watch(missing: "Sequence[KeySlice]") -> "Iterable[KeySlice]":
        made.append(len(missing))
        return watched(missing, "outlining lesions")

    masks = masks_of(lesions, out, workers=workers, watch=watch)
    say(
        f"{sum(map(len, masks.values()))} outlines on {len(masks)} key slices "
        f"({len(masks) - made[0]} of them finished before): {out}"
    )
    if picture is not None:
        say(f"{picture_of_masks(picture, lesions, masks)} of them to look at: {picture}")
    if faults:
        say(f"{len(faults)} lesions were left out, see above")


@prepare.command("lidc")
def lidc(
    folder: Annotated[
        Path, typer.Argument(help="LIDC-IDRI as downloaded: DICOM series and XML files, any depth.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for images/, masks/ and labels.csv.")
    ] = Path("lidc"),
    side: Annotated[int, typer.Option(help="Voxels of 1 mm along each side of a crop.")] = 80,
    rule: Annotated[
        str, typer.Option(help="How readers' ratings become one: mode or median; of two the lower.")
    ] = "mode",
) -> None:
    """Cut the nodules of LIDC-IDRI out of its CT series; run again, it goes on where it stopped."""
    from thirdaxis.data.lidc.prepare import prepare_lidc

    told = prepare_lidc(
        folder, out, side=side, rule=rule, watch=lambda series: watched(series, "cutting nodules")
    )
    for fault in told.faults:
        show(fault)
    say(
        f"{told.nodules} nodules of {told.made + told.kept} series "
        f"({told.kept} of them finished before): {out / 'labels.csv'}"
    )
    say(
        f"without a crop: {told.small} marks of nodules below 3 mm, {told.non_nodules} of other "
        f"things, {told.without_mask} nodules on whose place no half of the readers agree"
    )
    if told.without_images:
        say(f"{told.without_images} XML files are about series that are not here")
    if told.faults:
        say(f"{len(told.faults)} failed, see above; mend them and run the same command again")
        raise typer.Exit(1)


@prepare.command("phantoms")
def phantoms(
    out: Annotated[Path, typer.Argument(help="Folder to make, in DeepLesion's own layout.")],
    series: Annotated[
        int, typer.Option(help="How many series; about a quarter of a second each.")
    ] = 300,
    size: Annotated[int, typer.Option(help="Pixels along each side of a slice of 64 mm.")] = 128,
    seed: Annotated[int, typer.Option(help="One seed is one set.")] = 0,
    nodules: Annotated[
        Path | None,
        typer.Option(
            help="Paste real nodules, from a folder that `prepare lidc` wrote; "
            "the set then is semi-synthetic."
        ),
    ] = None,
    covered: Annotated[
        float,
        typer.Option(
            help="Share of lesions that only the comparison of slices tells from vessels."
        ),
    ] = 0.5,
    volumes: Annotated[
        bool,
        typer.Option(
            "--volumes", help="Write volumes (NIfTI) and boxes.csv instead, for `locate`."
        ),
    ] = False,
) -> None:
    """Draw a set of lesions that one slice cannot tell from vessels, but its neighbours can."""
    from thirdaxis.data.phantoms.sets import phantom_note, write_phantoms

    lesions = write_phantoms(
        out,
        series,
        size=size,
        seed=seed,
        nodules=nodules,
        covered=covered,
        volumes=volumes,
        watch=lambda every: watched(every, "drawing series"),
    )
    say(
        f"{lesions} lesions in {series} series: {out / ('boxes.csv' if volumes else 'DL_info.csv')}"
    )
    say(str(phantom_note(out)))
