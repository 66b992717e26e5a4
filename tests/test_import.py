"""Importing is silent and light: torch's own closure and nothing heavier."""

import json
import subprocess
import sys
from pathlib import Path

PROBE = """
import sys
{statement}
import json, pathlib
tops = sorted({{name.split(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names))
pathlib.Path({path!r}).write_text(json.dumps(tops))
"""


def run(statement: str, path: Path) -> tuple[set[str], str]:
    """The top-level packages that `statement` loads in a fresh interpreter, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(statement=statement, path=str(path))],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(path.read_text(encoding="utf-8"))), done.stdout + done.stderr


def test_import_loads_torch_alone_and_prints_nothing(tmp_path: Path) -> None:
    with_torch, said_by_torch = run("import torch", tmp_path / "torch.json")
    with_us, said = run("import thirdaxis", tmp_path / "us.json")
    assert "torch" in with_torch
    assert with_us - with_torch == {"thirdaxis"}
    assert said == said_by_torch  # nothing beyond what torch itself may warn of here


def test_the_probe_sees_a_heavier_import_and_a_print(tmp_path: Path) -> None:
    with_torch, _ = run("import torch", tmp_path / "torch.json")
    heavier, said = run("import torch, pytest; print('hello')", tmp_path / "heavier.json")
    assert "pytest" in heavier - with_torch
    assert "hello" in said


def test_the_command_line_loads_no_trainer_before_a_verb_runs(tmp_path: Path) -> None:
    loaded, said = run("import thirdaxis.cli.main", tmp_path / "cli.json")
    heavy = {"lightning", "monai", "torchvision", "timm", "matplotlib", "nibabel", "SimpleITK"}
    assert "typer" in loaded
    assert not loaded & heavy
    assert said == ""


def test_the_command_names_what_an_install_without_extras_lacks():
    program = "import sys; sys.modules['typer'] = None; import thirdaxis.__main__ as m; m.main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "thirdaxis[scans]" in done.stderr
