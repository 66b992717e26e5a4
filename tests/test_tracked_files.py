"""What is tracked is the project's own: no path of one machine, no large file."""

import re
import subprocess
from pathlib import Path

import pytest

# Homes, temporary folders and mounted disks of the machine a file was written on.
OWN_PATHS = re.compile(r"(?<![\w./<>-])/(?:home|Users|root|work|tmp|mnt|scratch)/[\w./-]+")
LARGEST_KIB = 1024


@pytest.fixture(scope="module")
def tracked(repository: Path) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so nothing tells which files are tracked")
    files = [repository / name for name in listed.stdout.split("\0") if name]
    return [path for path in files if path.is_file()]


def own_paths(text: str) -> list[str]:
    return OWN_PATHS.findall(text)


def test_no_file_names_a_path_of_one_machine(tracked: list[Path]) -> None:
    found = {}
    for path in tracked:
        if path.name != Path(__file__).name:
            text = path.read_bytes().decode("utf-8", errors="ignore")
            if hits := own_paths(text):
                found[path.name] = hits
    assert found == {}


def test_no_file_is_large(tracked: list[Path]) -> None:
    assert [path.name for path in tracked if path.stat().st_size > LARGEST_KIB * 1024] == []


def test_the_path_finder_finds_paths_and_nothing_else() -> None:
    assert own_paths("see /home/someone/data and '/tmp/x1'") == ["/home/someone/data", "/tmp/x1"]
    assert own_paths("https://example.org/home/page a/tmp/b docs/work/x and/or 1/2") == []
