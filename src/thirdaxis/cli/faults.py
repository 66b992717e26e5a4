"""Every fault a user can meet, as one line on stderr and an exit code."""

import errno
import sys
from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from thirdaxis.errors import ThirdaxisError

# Newer typers bring their own copy of click, older ones stand on click itself.
ClickException: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
EXTRAS = {
    "timm": "zoo",
    "segmentation_models_pytorch": "zoo",
    "huggingface_hub": "hub",
    **dict.fromkeys(("cv2", "pycocotools"), "detect"),
    **dict.fromkeys(("defusedxml", "highdicom", "pydicom"), "dicom"),
    **dict.fromkeys(
        (
            *("jinja2", "lightning", "matplotlib", "monai", "nibabel", "numpy", "pydantic"),
            *("SimpleITK", "safetensors", "scipy", "tensorboard", "torchvision", "yaml"),
        ),
        "scans",
    ),
}
ADVICE = {
    errno.ENOSPC: "free some space and start again",
    errno.EDQUOT: "free some space and start again",
    errno.EFBIG: "free some space and start again",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "choose a folder you may write to",
    errno.ENOTDIR: "part of this path is a file, choose another folder",
}


def exit_code(fault: BaseException) -> int | None:
    """The code a fault ends the command with.

    Args:
        fault: what was raised.

    Returns:
        2 for a wrong argument, 1 for bad input, a full disk or a missing package, 130 for Ctrl-C;
        none for a fault in the program itself, which keeps its traceback.
    """
    if isinstance(fault, ThirdaxisError):
        return fault.exit_code
    if isinstance(fault, ClickException):
        return fault.exit_code
    if isinstance(fault, KeyboardInterrupt | typer.Abort):
        return 130
    if isinstance(fault, OSError):
        return 1
    return 1 if isinstance(fault, ImportError) and _extra(fault) else None


def one_line(fault: BaseException) -> str:
    """What to tell the user: what came, what was expected, what to do."""
    if isinstance(fault, ClickException):
        return " ".join(fault.format_message().split())
    if isinstance(fault, KeyboardInterrupt | typer.Abort):
        return "interrupted"
    if isinstance(fault, OSError) and not isinstance(fault, ThirdaxisError):
        return _os_line(fault)
    if isinstance(fault, ImportError):
        return (
            f"the package {_top(fault)!r} is not installed; "
            f"pip install 'thirdaxis[{_extra(fault)}]'"
        )
    return " ".join(str(fault).split())


def tell_failures(lines: Iterable[str]) -> None:
    """Shows what went wrong with some of many inputs, and ends with exit code 1 if any did."""
    lines = list(lines)
    for line in lines:
        show(line)
    if lines:
        raise typer.Exit(1)


def show(line: str) -> None:
    """Prints `error: ...` on stderr, in one line however long."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"[bold red]error:[/] {escape(line)}"
    )
    sys.stderr.flush()


def _os_line(fault: OSError) -> str:
    advice = ADVICE.get(fault.errno or 0)
    place = f"{fault.filename}: " if fault.filename else ""
    reason = fault.strerror or " ".join(str(fault).split()) or type(fault).__name__
    return f"{place}{reason}" + (f"; {advice}" if advice else "")


def _top(fault: ImportError) -> str:
    return (fault.name or "").partition(".")[0]


def _extra(fault: ImportError) -> str | None:
    return EXTRAS.get(_top(fault))
