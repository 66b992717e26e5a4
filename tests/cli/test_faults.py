import errno

import pytest
import typer

from thirdaxis.cli.faults import exit_code, one_line, show
from thirdaxis.errors import InputError, ThirdaxisError, UsageError


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [
        (UsageError("bad flag"), 2, "bad flag"),
        (InputError("bad\n  file"), 1, "bad file"),
        (ThirdaxisError("other"), 1, "other"),
        (typer.BadParameter("not a number"), 2, "Invalid value: not a number"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (typer.Abort(), 130, "interrupted"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/last.ckpt"),
            1,
            "/x/last.ckpt: No space left on device; free some space and start again",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x"),
            1,
            "/x: Permission denied; choose a folder you may write to",
        ),
        (
            ModuleNotFoundError("No module named 'monai'", name="monai.losses"),
            1,
            "the package 'monai' is not installed; pip install 'thirdaxis[scans]'",
        ),
        (
            ModuleNotFoundError("No module named 'timm'", name="timm"),
            1,
            "the package 'timm' is not installed; pip install 'thirdaxis[zoo]'",
        ),
        (
            ModuleNotFoundError("No module named 'highdicom'", name="highdicom.seg"),
            1,
            "the package 'highdicom' is not installed; pip install 'thirdaxis[dicom]'",
        ),
    ],
)
def test_a_known_fault_is_one_line_and_a_code(fault, code, line):
    assert exit_code(fault) == code
    assert one_line(fault) == line


@pytest.mark.parametrize(
    "fault", [ZeroDivisionError(), RuntimeError("bug"), ImportError("x", name="thirdaxis.nets")]
)
def test_a_fault_of_the_program_keeps_its_traceback(fault):
    assert exit_code(fault) is None


def test_brackets_and_long_lines_are_printed_as_they_are(capsys):
    line = "pip install 'thirdaxis[scans]' " + "x" * 300
    show(line)
    assert capsys.readouterr().err == f"error: {line}\n"
