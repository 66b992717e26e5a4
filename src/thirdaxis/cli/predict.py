"""`thirdaxis predict`: label maps, classes, lesions or points, as the network was trained."""

from pathlib import Path
from typing import Annotated

import typer

from thirdaxis.cli.classified import predict_classes
from thirdaxis.cli.detected import predict_lesions
from thirdaxis.cli.display import say, two_bars
from thirdaxis.cli.faults import tell_failures
from thirdaxis.cli.located import predict_points
from thirdaxis.errors import UsageError

# Options that not all tasks understand.
ONLY = {
    "segment": (
        *("label_format", "picture", "probabilities"),
        *("overlap", "flip", "largest", "precision"),
    ),
    "detect": ("mode", "score", "gap", "margin", "drawn"),
    "locate": ("picture", "overlap", "score", "heat_map"),
}


def predict(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(help="Run folder that `thirdaxis train` made; left out with --model."),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Argument(
            help="NIfTI, MetaImage or NRRD file, DICOM series folder, or a folder of such; of "
            "lesions also a folder of DeepLesion or one of its series."
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
            "--out", "-o", help="Folder for the results; one label map may end in .nii.gz."
        ),
    ] = Path("predictions"),
    label_format: Annotated[
        str, typer.Option("--format", help="nifti, dicom-seg (for DICOM series) or both.")
    ] = "nifti",
    picture: Annotated[
        bool, typer.Option("--picture", help="Also draw each result, as a PNG beside it.")
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write each class's, as an .npz beside it.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do scans again whose results are there.")
    ] = False,
    overlap: Annotated[
        float | None,
        typer.Option(help="Of neighbouring windows, 0 to below 1; default: as trained."),
    ] = None,
    flip: Annotated[
        str | None,
        typer.Option(help="Average over flips along these: depth, height, width, comma between."),
    ] = None,
    largest: Annotated[
        list[str] | None,
        typer.Option(help="Keep the largest component of this label, or of all; repeatable."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="32 or bf16, on a CPU too; default: as suits the device.")
    ] = None,
    accelerator: Annotated[
        str | None, typer.Option(help="auto, cpu or gpu; default: as the run was trained.")
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="Lesions: windows, exactly as trained, or slab, faster but not what was learnt: "
            "measure first."
        ),
    ] = "windows",
    score: Annotated[
        float | None,
        typer.Option(
            help="Lesions: the least score of one, default 0.5, boxes are all told; points: the "
            "lowest peak, default as trained."
        ),
    ] = None,
    gap: Annotated[
        float, typer.Option(help="Lesions: mm of slices without a box that one may span.")
    ] = 3.0,
    margin: Annotated[
        float | None,
        typer.Option(
            help="Lesions: pixels that boxes leave around one, taken off diameters; default: 5 "
            "of 512 after training on DeepLesion, else 0."
        ),
    ] = None,
    drawn: Annotated[
        int, typer.Option(min=0, help="Lesions: how many of a scan get a picture, best first.")
    ] = 6,
    heat_map: Annotated[
        bool, typer.Option("--heat-map", help="Points: also write the heat map, as .nii.gz.")
    ] = False,
) -> None:
    """Segment scans with a trained network; writes label maps on the scans' own grids.

    Of a folder, scans that are done are skipped, and bad ones are told at the end. A network
    trained to classify writes a table of probabilities (.csv) instead; one trained to detect or to
    locate a folder for each scan, with its lesions or points as .csv and .json, and pictures.
    """
    from thirdaxis.tasks import segment
    from thirdaxis.tasks.model import load_model

    source, scans = _source_and_scans(run, inputs, model)
    trained = load_model(source, trust=trust)
    _check_options(context, trained.settings.task)
    if trained.settings.task == "classify":
        predict_classes(trained, scans, out, accelerator)
        return
    if trained.settings.task == "detect":
        predict_lesions(
            trained,
            scans,
            out,
            accelerator,
            mode=mode,
            score=0.5 if score is None else score,
            gap=gap,
            margin=margin,
            pictures=drawn,
            overwrite=overwrite,
        )
        return
    if trained.settings.task == "locate":
        predict_points(
            trained,
            scans,
            out,
            accelerator,
            score=score,
            overlap=overlap,
            heat_map=heat_map,
            picture=picture,
            overwrite=overwrite,
        )
        return
    how = segment.Inference(
        overlap=overlap,
        flips=tuple(flip.replace(" ", "").split(",")) if flip else (),
        precision=precision,
        largest=tuple(largest) if largest else None,
    )
    outputs = segment.Outputs(label_format, picture, probabilities, overwrite)
    with two_bars("scans", "windows") as (watch, told):
        done = segment.predict(
            trained,
            scans,
            out,
            how,
            outputs,
            accelerator=accelerator,
            watch=watch,
            told=told,
            say=say,
        )
    tell_failures(done.failed.values())


def _check_options(context: typer.Context, task: str) -> None:
    """Refuses options that the network's task would ignore."""
    foreign = {name for names in ONLY.values() for name in names} - {*ONLY.get(task, ())}
    spelled = {option.name: option.opts[0] for option in context.command.params}
    for name in sorted(foreign):
        owner = " or ".join(one for one, names in ONLY.items() if name in names)
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(
                f"{spelled[name]} is for networks trained to {owner}, this one was trained to "
                f"{task}; leave it out"
            )


def _source_and_scans(run: str | None, inputs: Path | None, model: str | None) -> tuple[str, Path]:
    if run is not None and inputs is not None and model is None:
        return run, inputs
    if run is not None and inputs is None and model is not None:
        return model, Path(run)
    raise UsageError(
        "expected a run folder and scans, or --model and scans, as in: thirdaxis predict run scans"
    )
