"""Output on a terminal (bars), elsewhere (plain lines) and with --quiet (almost none)."""

import io

import pytest

from risjax.runs.formatting import duration_text, rate_text
from risjax.runs.terminal import Terminal
from tests.runs.terminal.screen import Shown


class Tty(io.StringIO):
    def isatty(self):
        return True


def work(terminal):
    terminal.rule("train")
    with terminal.progress("outer", 2, completed=1) as outer:
        with terminal.progress("inner", 3) as inner:
            for _ in range(3):
                inner.advance(loss=0.12345)
            terminal.say("in [between]")
        outer.advance()
    terminal.table("methods", [{"name": "mvdr", "f1": 0.5}, {"name": "x"}])


def test_without_a_screen_bars_are_plain_lines():
    stream = io.StringIO()
    work(Terminal(stream=stream))
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    lines = text.splitlines()
    assert lines[0] == "== train"
    assert lines[1] == "in [between]"
    assert lines[2].startswith("inner  3/3  ")
    assert lines[2].endswith("loss 0.1235")
    assert lines[3].startswith("outer  2/2  ")
    assert lines[4:] == ["methods", "  name  f1", "  mvdr  0.5", "  x"]


def test_bars_with_rate_and_time_left_on_a_terminal():
    stream = Tty()
    work(Terminal(stream=stream))
    text = stream.getvalue()
    assert "\x1b[" in text
    assert "inner" in text
    assert "in [between]" in text


def test_quiet_prints_only_warnings_and_lines_marked_always():
    stream = Tty()
    terminal = Terminal(quiet=True, stream=stream)
    work(terminal)
    assert stream.getvalue() == ""
    terminal.say("found", always=True)
    terminal.warn("careful")
    assert stream.getvalue() == "found\nwarning: careful\n"


def test_a_program_that_compiles_is_named_below_the_bars():
    stream = Tty()
    terminal = Terminal(stream=stream)
    with terminal.progress("train", 3):
        screen = terminal._screen
        assert screen is not None
        terminal.show_compilation("the training step")
        screen.refresh()
        assert "compiling the training step ..." in Shown(stream.getvalue()).text
        terminal.show_compilation(None)
        screen.refresh()
        assert "compiling" not in Shown(stream.getvalue()).text


@pytest.mark.parametrize(("quiet", "text"), [(False, "compiling the training step ...\n"), (True, "")])
def test_without_a_screen_the_program_is_named_in_a_line(quiet, text):
    stream = io.StringIO()
    terminal = Terminal(quiet, stream=stream)
    terminal.show_compilation("the training step")
    terminal.show_compilation(None)
    assert stream.getvalue() == text


def test_a_bar_ends_after_an_exception():
    stream = io.StringIO()
    terminal = Terminal(stream=stream)

    def interrupted():
        with terminal.progress("train", 3) as bar:
            bar.advance()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert stream.getvalue().startswith("train  1/3")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (8, "8 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273600, "3 d 4 h")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_rates():
    assert rate_text(20.34) == "20.3/s"
    assert rate_text(0.25) == "4 s each"
