"""Documentation is code: what README.md, CONTRIBUTING.md and docs/ show is run here."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import typer.main
import yaml

from thirdaxis.cli.main import app
from thirdaxis.tasks.stages import runs_of

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
NO_RUN = "<!-- no-run -->"
# What tells that a block really needs the network: it downloads pretrained weights.
DOWNLOADS = re.compile(r"weights=(?!None)|pretrained=True|encoder_weights=\"")
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, first line number, text, and whether it may run."""

    language: str
    line: int
    text: str
    runs: bool


def blocks(page: str, *languages: str) -> list[Block]:
    """The fenced blocks of `page` in one of `languages`, dedented."""
    found = []
    for match in FENCE.finditer(page):
        if match["language"] in languages:
            indent = len(match["indent"])
            text = "".join(line[indent:] for line in match["text"].splitlines(keepends=True))
            before = page[: match.start()]
            runs = not before.rstrip().endswith(NO_RUN)
            found.append(Block(match["language"], before.count("\n") + 2, text, runs))
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The command lines of a bash block as argument lists, environment settings taken off."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words = words[1:]
        if words:
            yield words


def refusal(words: list[str]) -> str | None:
    """What the command line says to `thirdaxis WORDS...` before it starts, None if it is accepted.

    The paths that a page shows need not exist here, so a missing path is no refusal.
    """
    command = typer.main.get_command(app)
    arguments, path = words[1:], "thirdaxis"
    try:
        while hasattr(command, "commands"):
            if not arguments or arguments[0] == "--help":
                return None
            verb, arguments = arguments[0], arguments[1:]
            if verb not in command.commands:
                return f"{path} has no verb {verb!r}"
            command, path = command.commands[verb], f"{path} {verb}"
        if "--help" not in arguments:
            command.make_context(path, list(arguments))
    except Exception as error:
        # typer brings its own copy of click's exceptions in some versions, so they go by name
        message = getattr(error, "message", None) or str(error)
        if type(error).__name__ == "BadParameter" and "does not exist" in message:
            return None
        return f"{type(error).__name__}: {message}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of one page are one program, read from top to bottom."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page.read_text("utf-8"), "python"):
        if block.runs:
            # empty lines before it, so that a traceback names the page's own line
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, str(page), "exec"), names)
        else:
            assert DOWNLOADS.search(block.text), f"{page.name}:{block.line} could run"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_are_accepted(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.M))
    for block in blocks(page.read_text("utf-8"), "bash", "sh", "console"):
        for words in commands(block.text):
            where = f"{page.name}:{block.line}: {shlex.join(words)}"
            if Path(words[0]).name == "thirdaxis":
                said = refusal(words)
                assert said is None, f"{where}: {said}"
            elif words[0] == "make":
                named = {word for word in words[1:] if "=" not in word and word[0] != "-"}
                assert named <= targets, where


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_files_are_accepted(page: Path) -> None:
    for block in blocks(page.read_text("utf-8"), "yaml"):
        told = {"data": "scans", **yaml.safe_load(block.text)}
        assert runs_of(told, Path("run"), f"{page.name}:{block.line}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        if not target.startswith(("http", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readers_of_pages_catch_planted_wrongs() -> None:
    page = (
        "text\n\n```python\nx = 1\n```\n\n"
        f"{NO_RUN}\n```python\nraise OSError\n```\n\n"
        "1. a list\n\n   ```python\n   if x:\n       y = 2\n   ```\n"
        "```bash\n$ A=1 thirdaxis convert \\\n  unet -o net  # why\n```\n"
    )
    found = blocks(page, "python")
    assert [block.runs for block in found] == [True, False, True]
    assert found[0].line == 4
    assert found[2].text == "if x:\n    y = 2\n"
    assert list(commands(blocks(page, "bash")[0].text)) == [
        ["thirdaxis", "convert", "unet", "-o", "net"]
    ]
    assert refusal(["thirdaxis", "no-such-verb"]) is not None
    assert refusal(["thirdaxis", "convert", "unet", "--no-such-option"]) is not None
    assert refusal(["thirdaxis", "--help"]) is None
    assert DOWNLOADS.search("resnet18(weights=None)") is None
    assert DOWNLOADS.search('resnet18(weights="DEFAULT")') is not None
