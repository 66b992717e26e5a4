"""Sphinx settings: plain Markdown pages, and a reference made from the docstrings at build time."""

import inspect
from pathlib import Path

import typer.main

import thirdaxis
from thirdaxis.cli.main import app as verb_app

project = "thirdaxis"
author = "The thirdaxis authors"
project_copyright = "the thirdaxis authors, Apache-2.0"
version = release = thirdaxis.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"thirdaxis {release}"
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
napoleon_use_ivar = True
autodoc_preserve_defaults = True
default_role = "code"  # docstrings write `names` in single backticks

ROOMS = ["axes", "fusion", "convert", "nets", "data", "metrics", "tasks", "errors"]
SECTION = "### {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```\n"


def modules() -> list[str]:
    """Dotted names of the public modules, from the lowest storey up; the verbs are listed apart."""
    root = Path(thirdaxis.__file__).parent
    found = []
    for room in ROOMS:
        single = root / f"{room}.py"
        files = [single] if single.exists() else sorted((root / room).rglob("*.py"))
        shown = [file for file in files if not file.stem.startswith("_")]
        found += [".".join(file.relative_to(root.parent).with_suffix("").parts) for file in shown]
    return found


def verbs() -> str:
    """One section a verb of the command line: what it does and a table of its options."""
    pages = []
    found = dict(typer.main.get_command(verb_app).commands)
    for group, verb in list(found.items()):
        found |= {f"{group} {name}": one for name, one in getattr(verb, "commands", {}).items()}
    for verb_name, verb in sorted(found.items()):
        about = inspect.cleandoc(verb.help or "").split("\f")[0]
        rows = ["| option | meaning | default |", "|---|---|---|"]
        for option in verb.params:
            spelled = ", ".join(f"`{name}`" for name in option.opts + option.secondary_opts)
            shown = "" if option.default in (None, ...) else f"`{option.default}`"
            meaning = " ".join((getattr(option, "help", None) or "").split()).replace("|", r"\|")
            rows.append(f"| {spelled} | {meaning} | {'required' if option.required else shown} |")
        pages.append(f"### thirdaxis {verb_name}\n\n{about}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(pages)


def fill_reference(app, docname: str, source: list[str]) -> None:
    """Appends to reference.md what the code says of itself, so that the page cannot fall behind."""
    if docname == "reference":
        sections = [SECTION.format(module=module) for module in modules()]
        source[0] += "\n## Command line\n\n" + verbs()
        source[0] += "\n## Modules\n\n" + "\n".join(sections)


def keep_colons(app, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Keeps napoleon from taking what stands before an attribute's first colon for its type."""
    if what in ("attribute", "data", "property"):
        lines[:0] = [".. one of the settings or constants", ""]


def setup(app) -> dict[str, bool]:
    app.connect("source-read", fill_reference)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    return {"parallel_read_safe": True}
