"""`thirdaxis predict`: label maps for scans, on the scans' own grids."""

from pathlib import Path
from typing import Annotated

import typer

from thirdaxis.cli.display import say, watched
from thirdaxis.errors import UsageError


def predict(
    run: Annotated[
        str | None,
        typer.Argument(help="Run folder that `thirdaxis train` made; left out with --model."),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Argument(
            help="NIfTI, MetaImage or NRRD file, DICOM series folder, or a folder of such."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Model folder, .zip or .onnx, or hf://USER/NAME, instead of RUN."
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Call the package.module:factory that a model names.")
    ] = False,
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
    """Segment scans with a trained network; writes .nii.gz label maps on the scans' own grids."""
    from thirdaxis.tasks import segment

    source, scans = _source_and_scans(run, inputs, model)
    written = segment.predict(
        source,
        scans,
        out,
        accelerator=accelerator,
        picture=picture,
        trust=trust,
        watch=lambda scans: watched(scans, "segmenting"),
    )
    for path in written:
        say(str(path))


def _source_and_scans(run: str | None, inputs: Path | None, model: str | None) -> tuple[str, Path]:
    if run is not None and inputs is not None and model is None:
        return run, inputs
    if run is not None and inputs is None and model is not None:
        return model, Path(run)
    raise UsageError(
        "expected a run folder and scans, or --model and scans, as in: thirdaxis predict run scans"
    )
