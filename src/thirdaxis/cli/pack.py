"""`thirdaxis pack`: a trained model as one folder or file, used and shared without its run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from thirdaxis.cli.display import say


class Form(StrEnum):
    """What a model is packed as."""

    model = "model"
    hub = "hub"
    monai = "monai"


def pack(
    run: Annotated[
        str, typer.Argument(help="Run folder, model folder or file, or hf://USER/NAME.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to make, or a file ending in .zip.")
    ] = None,
    form: Annotated[
        Form,
        typer.Option(
            "--as",
            help="model and hub: a folder with config.json, model.safetensors and a card; monai: "
            "a MONAI bundle around it.",
        ),
    ] = Form.model,
    push: Annotated[
        str | None, typer.Option(help="Upload to the Hugging Face Hub, to hf://USER/NAME.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Let everyone see a new repository on the hub.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option(help="Licence you give the model, as the hub names it: mit, ...")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Call the package.module:factory that a model names.")
    ] = False,
) -> None:
    """Pack a trained model: weights, settings, label names and where they come from.

    Example: `thirdaxis pack run --out model.zip`, then
    `thirdaxis predict --model model.zip scans`
    """
    from thirdaxis.errors import UsageError
    from thirdaxis.tasks.model import licensed, load_model, model_files, pack_source
    from thirdaxis.tasks.trained.files import write_model_files
    from thirdaxis.tasks.trained.hub import push as upload

    if (out is None) == (push is None):
        raise UsageError("name one place for the model: --out FOLDER_OR_ZIP, or --push hf://...")
    model = load_model(pack_source(run), trust=trust)
    if licence is not None:
        model = licensed(model, licence)
    if form is Form.monai:
        from thirdaxis.tasks.trained.bundle import bundle_files

        files = bundle_files(model)
    else:
        files = model_files(model)
    if push is not None:
        say(upload(files, push, private=not public))
    elif out is not None:
        write_model_files(out, files)
        say(f"wrote {out}")
