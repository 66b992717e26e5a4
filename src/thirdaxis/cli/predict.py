"""`thirdaxis predict`: label maps for scans, on the scans' own grids."""

from pathlib import Path
from typing import Annotated

import typer

from thirdaxis.cli.classified import is_classifier, predict_classes
from thirdaxis.cli.display import say, watched


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder that `thirdaxis train` made.")],
    inputs: Annotated[
        Path,
        typer.Argument(
            help="NIfTI, MetaImage or NRRD file, DICOM series folder, or a folder of such."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for the label maps, or one file ending in .nii.gz."
        ),
    ] = Path("predictions"),
    picture: Annotated[
        bool, typer.Option("--picture", help="Also draw each result, as a PNG beside it.")
    ] = False,
    accelerator: Annotated[
        str | None, typer.Option(help="auto, cpu or gpu; default: as the run was trained.")
    ] = None,
) -> None:
    """Segment scans with a trained network; writes .nii.gz label maps on the scans' own grids.

    A run of the task `classify` writes a table of probabilities (.csv) instead.
    """
    if is_classifier(run):
        predict_classes(run, inputs, out, accelerator)
        return
    from thirdaxis.tasks import segment

    written = segment.predict(
        run,
        inputs,
        out,
        accelerator=accelerator,
        picture=picture,
        watch=lambda scans: watched(scans, "segmenting"),
    )
    for path in written:
        say(str(path))
