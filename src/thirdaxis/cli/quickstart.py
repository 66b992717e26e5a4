"""`thirdaxis quickstart`: from 2D shapes to 3D shapes in minutes."""

from pathlib import Path
from typing import Annotated

import typer


def quickstart(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report.")] = Path(
        "quickstart"
    ),
    seed: Annotated[
        int, typer.Option(min=0, max=2**31, help="Another seed is another experiment.")
    ] = 0,
) -> None:
    """Pretrain on 2D shapes, convert, fine-tune on 3D shapes, compare with a random start."""
    from thirdaxis.cli.display import say
    from thirdaxis.tasks.shapes.quickstart import run
    from thirdaxis.tasks.shapes.quickstart_report import write_report

    out.mkdir(parents=True, exist_ok=True)  # an unwritable place is told now, not minutes later
    outcome = run(seed, say=say)
    report = write_report(outcome, out)
    finals = {start: curve[-1] for start, curve in outcome.curves.items()}
    say(
        f"mean Dice of cubes and balls: pretrained {finals['pretrained']:.3f}, "
        f"random {finals['random']:.3f}, after {outcome.seconds:.0f} s"
    )
    say(f"report: {report}")
