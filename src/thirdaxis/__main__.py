"""The command `thirdaxis`, also as `python -m thirdaxis`."""

import sys


def main() -> None:
    """Runs the command line, or says in one line what is missing to run it."""
    try:
        from thirdaxis.cli.main import main as run
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("thirdaxis"):
            raise
        sys.exit(
            f"error: the command line needs the package {missing.name!r}, which is not installed; "
            "pip install 'thirdaxis[scans]'"
        )
    run()


if __name__ == "__main__":
    main()
