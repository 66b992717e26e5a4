import io
import sys

import pytest

from thirdaxis.cli.display import two_bars


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_items_come_in_order_with_bars_on_a_terminal_alone(monkeypatch, terminal):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream)
    seen = []
    with two_bars("scans", "windows") as (watch, told):
        for item in watch(["a", "b"]):
            seen.append(item)
            told(1, 2)
            told(2, 2)
    assert seen == ["a", "b"]
    drawn = stream.getvalue()
    assert ("scans" in drawn and "windows" in drawn) == terminal
    assert terminal or drawn == ""
