"""Keeps the storeys: a file imports its own room and those below, never upwards or sideways."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

STOREY = {
    "errors": 0,
    "atomic": 0,
    "axes": 1,
    "fusion": 2,
    "convert": 3,
    "export": 4,
    "": 5,  # the front door, thirdaxis/__init__.py, shows what lies below it
    "nets": 6,
    "data": 6,
    "metrics": 6,
    "tasks": 7,
    "cli": 8,
    "__main__": 9,
}
TORCH_ONLY = {"errors", "atomic", "axes", "fusion", "convert", ""}
# Libraries that one room owns: whoever else needs them asks that room.
OWNER: dict[str, set[str]] = {
    "typer": {"cli"},
    "lightning": {"tasks"},
    "pytorch_lightning": {"tasks"},
    "nibabel": {"data"},
    "SimpleITK": {"data"},
    "timm": {"nets"},
    "onnxruntime": {"export"},
    "segmentation_models_pytorch": {"nets"},
    "click": set(),  # some typers bring their own copy, so click may be missing
}
LONGEST_FILE = 300
NAMES_WITHOUT_AN_IDEA = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}


def room_of(module: str) -> str:
    """The room of a dotted module inside the package: ``thirdaxis.fusion.acs`` -> ``fusion``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Every (line, absolute dotted name) that `source` imports, wherever in the file it does."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from thirdaxis import nets` reaches a room, `from torch import nn` a library.
            names = [f"{base}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, name) for name in (names if base == "thirdaxis" else [base]))
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rsplit(".", 1)[-1]
            first = node.args[0]
            if called in {"import_module", "__import__"} and isinstance(first, ast.Constant):
                yield node.lineno, str(first.value)


def faults(source: str, module: str, is_package: bool = False) -> list[str]:
    """What `source`, standing at `module`, imports and may not."""
    here = room_of(module)
    found = []
    for line, name in imported(source, module, is_package):
        top = name.split(".")[0]
        if top == "thirdaxis":
            there = room_of(name)
            there = there if there in STOREY else ""  # a name that the front door shows
            if STOREY[there] > STOREY[here]:
                found.append(f"{module}:{line} imports {name}, a higher storey")
            elif STOREY[there] == STOREY[here] and there != here:
                found.append(f"{module}:{line} imports {name}, a stranger on the same storey")
        elif top in sys.stdlib_module_names or top == "torch":
            continue
        elif here in TORCH_ONLY:
            found.append(f"{module}:{line} imports {name}; this storey stands on torch alone")
        elif here not in OWNER.get(top, {here}):
            owner = " or ".join(sorted(OWNER[top])) or "no room"
            found.append(f"{module}:{line} imports {name}, which belongs to {owner}")
    return found


@pytest.fixture(scope="module")
def files(repository: Path) -> dict[str, Path]:
    """Dotted module name -> file, for every file of the package."""
    root = repository / "src"
    found = {}
    for path in sorted((root / "thirdaxis").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    assert "thirdaxis.errors" in found
    return found


def test_every_file_imports_its_own_room_or_lower_storeys(files: dict[str, Path]) -> None:
    found = []
    for module, path in files.items():
        found += faults(path.read_text("utf-8"), module, is_package=path.name == "__init__.py")
    assert not found, "\n".join(found)


def test_every_file_has_a_room(files: dict[str, Path]) -> None:
    homeless = sorted(module for module in files if room_of(module) not in STOREY)
    assert not homeless


def test_files_are_short_and_named_after_an_idea(files: dict[str, Path]) -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in files.values()}
    too_long = {path.name: length for path, length in lengths.items() if length > LONGEST_FILE}
    assert not too_long
    assert not [path for path in lengths if path.name in NAMES_WITHOUT_AN_IDEA]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("thirdaxis.fusion.acs", "from thirdaxis.convert.walk import convert"),
        ("thirdaxis.fusion.acs", "from ..convert import walk"),
        ("thirdaxis.fusion.acs", "from .. import convert"),
        ("thirdaxis.fusion.acs", "import thirdaxis"),
        ("thirdaxis.fusion.acs", "def f():\n    from thirdaxis import ACS"),
        ("thirdaxis.fusion.acs", "import numpy as np"),
        ("thirdaxis.axes", "if True:\n    from scipy import ndimage"),
        ("thirdaxis.errors", "from thirdaxis.axes import SPATIAL"),
        ("thirdaxis.convert.rules", "import importlib\nimportlib.import_module('timm')"),
        ("thirdaxis.convert.rules", "__import__('thirdaxis.nets.unet')"),
        ("thirdaxis.nets.unet", "from thirdaxis.data.volume import Volume"),
        ("thirdaxis.nets.unet", "from ..metrics.dice import dice"),
        ("thirdaxis.metrics.dice", "from thirdaxis import data"),
        ("thirdaxis.metrics.dice", "import nibabel"),
        ("thirdaxis.data.volume", "from thirdaxis.tasks.segment import Segment"),
        ("thirdaxis.tasks.segment", "from thirdaxis.cli import main"),
        ("thirdaxis.tasks.segment", "import typer"),
        ("thirdaxis.cli.main", "import click"),
        ("thirdaxis", "from .nets import UNet"),
    ],
)
def test_the_checker_catches_a_planted_wrong_import(module: str, line: str) -> None:
    assert len(faults(line, module, is_package=module == "thirdaxis")) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("thirdaxis.axes", "from thirdaxis.errors import UsageError"),
        (
            "thirdaxis.fusion.acs",
            "import math\nimport torch.nn.functional as F\nfrom torch import nn",
        ),
        ("thirdaxis.fusion.acs", "from .slicewise import Slicewise\nfrom ..axes import SPATIAL"),
        ("thirdaxis.nets.build", "from thirdaxis import convert\nimport timm, thirdaxis"),
        ("thirdaxis.nets.build", "import numpy\nimportlib.import_module(name)"),
        ("thirdaxis.tasks.segment", "from thirdaxis.data.volume import Volume\nimport lightning"),
        ("thirdaxis.cli.main", "from . import train\nimport typer"),
        ("thirdaxis", "from .convert.walk import convert\nfrom .fusion.acs import ACS"),
    ],
)
def test_the_checker_lets_downward_imports_pass(module: str, line: str) -> None:
    assert faults(line, module, is_package=module == "thirdaxis") == []
