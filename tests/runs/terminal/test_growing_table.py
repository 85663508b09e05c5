"""The table of epochs: what a screen shows while it grows and when it is done, and how it leaves the terminal."""

import io
from collections.abc import Callable

import pytest

from risjax.runs.terminal import Terminal
from risjax.runs.terminal.live import MOST_ROWS
from risjax.train.records import ALWAYS_SHOWN, epoch_lines, epoch_row
from tests.runs.terminal.screen import Shown
from tests.runs.terminal.test_terminal import Tty

EPOCHS = 20
BEST_EPOCHS = (1, 2, 4)


def record(epoch: int) -> dict:
    """As the log has it; the fourth epoch stays the best."""
    loss = 1 / epoch
    return {
        "epoch": epoch,
        "loss": loss,
        "terms": {"covariance": 0.7 * loss, "projector": 0.3 * loss},
        "validation": {"nmse": loss, "f1_3d": 0.5, "f1_angle": 0.75, "precision_3d": 1.0, "gospa_m": 2 + loss},
        "grad_norm_backbone": 1.0,
        "grad_norm_head": 1.0,
        "update_norm": 0.01,
        "finite": True,
        "loss_scale": 1.0,
        "skipped_steps": epoch // 10,
        "scenes_per_second": 312.4,
        "seconds": 41.23,
        "best_epoch": max(best for best in BEST_EPOCHS if best <= epoch),
    }


def train(terminal: Terminal, *, first: int = 1, at: Callable[[int], None] = lambda epoch: None) -> None:
    """Output of the loop; ``first`` is the epoch at which it resumed."""
    table = terminal.growing_table("epochs", mark="best", keep=ALWAYS_SHOWN)
    with terminal.progress("train", EPOCHS, completed=first - 1) as bar, table as rows:
        for epoch in range(1, EPOCHS + 1):
            line = None if epoch < first else epoch_lines(record(epoch), EPOCHS)
            rows.add(epoch_row(record(epoch), EPOCHS), line, marked=epoch in BEST_EPOCHS)
            if epoch >= first:
                bar.advance(loss=record(epoch)["loss"])
                at(epoch)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Terminal, Tty]]:
    def make(width: int = 80, height: int = 24) -> tuple[Terminal, Tty]:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("LINES", str(height))
        monkeypatch.setenv("TERM", "xterm-256color")
        stream = Tty()
        return Terminal(stream=stream), stream

    return make


def refresh(terminal: Terminal) -> None:
    """Draws now what the display would draw within a tenth of a second."""
    assert terminal._screen is not None
    with terminal._screen.lock:
        terminal._screen.refresh()


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (60, "epoch loss NMSE 3-D angle m skipped"),
        (80, "epoch loss covariance projector NMSE 3-D angle m skipped seconds"),
        (120, "epoch loss covariance projector NMSE 3-D angle m skipped seconds scenes/s"),
    ],
)
def test_the_whole_table_stays_and_fits(screen, width: int, headings: str) -> None:
    terminal, stream = screen(width)
    train(terminal)
    shown = Shown(stream.getvalue())
    lines = shown.text.splitlines()
    assert lines[0] == "epochs"
    assert lines[2].split() == ["F1", "F1", "GOSPA"]
    assert lines[3].split() == headings.split()
    rows = lines[5:-2]
    assert [row.split()[0] for row in rows] == [f"{epoch}/{EPOCHS}" for epoch in range(1, EPOCHS + 1)]
    assert [row.endswith("best") for row in rows] == [epoch == 4 for epoch in range(1, EPOCHS + 1)]
    cells = dict(zip(headings.split(), rows[9].split(), strict=False))
    wanted = {"covariance": "0.070", "NMSE": "0.100", "angle": "0.750", "m": "2.100", "skipped": "1", "scenes/s": "312"}
    assert {name: cells[name] for name in wanted if name in cells} == {n: wanted[n] for n in wanted if n in cells}
    assert max(map(len, lines)) <= width
    assert lines[-1].startswith("train  20/20")
    assert shown.cursor_is_visible


@pytest.mark.parametrize(("height", "rows"), [(50, MOST_ROWS), (13, 4), (9, 0)])
def test_a_growing_table_shows_its_last_rows_and_the_best(screen, height: int, rows: int) -> None:
    terminal, stream = screen(height=height)

    def look(epoch: int) -> None:
        if epoch < EPOCHS:
            return
        refresh(terminal)
        shown = Shown(stream.getvalue())
        lines = shown.text.splitlines()
        assert lines[-1].startswith("train ━"), "the bar is below the table"
        assert not shown.cursor_is_visible
        assert len(lines) < height
        epochs = [line.split()[0] for line in lines if "/20 " in line and "train" not in line]
        assert len(epochs) == rows
        if rows:
            assert epochs == ["4/20", *[f"{number}/20" for number in range(EPOCHS - rows + 2, EPOCHS + 1)]]

    train(terminal, at=look)


def test_a_resumed_training_has_its_earlier_epochs_in_the_table(screen) -> None:
    terminal, stream = screen()
    train(terminal, first=15)
    lines = Shown(stream.getvalue()).text.splitlines()
    assert sum("/20 " in line for line in lines[:-1]) == EPOCHS
    plain = io.StringIO()
    train(Terminal(stream=plain), first=15)
    assert [line.split()[1] for line in plain.getvalue().splitlines() if line.startswith("epoch")] == [
        f"{epoch}/20" for epoch in range(15, 21)
    ], "elsewhere they have been said before"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError, SystemExit])
def test_the_terminal_is_restored_however_it_ends(screen, kind: type[BaseException]) -> None:
    terminal, stream = screen()

    def fail(epoch: int) -> None:
        refresh(terminal)
        assert not Shown(stream.getvalue()).cursor_is_visible
        if epoch == 7:
            raise kind("enough")

    with pytest.raises(kind):
        train(terminal, at=fail)
    shown = Shown(stream.getvalue())
    assert shown.cursor_is_visible
    *table, last = shown.text.splitlines()
    assert sum("/20 " in line for line in table) == 7, "what is done stays on the screen, once"
    assert "━" not in shown.text
    assert last.startswith("train  7/20")
    terminal.say("and on")
    assert Shown(stream.getvalue()).text.endswith("\nand on"), "nothing draws any more"


def test_before_the_first_row_there_is_no_table(screen) -> None:
    terminal, stream = screen()
    with terminal.progress("train", 3), terminal.growing_table("epochs", mark="best"):
        refresh(terminal)
        assert "epochs" not in Shown(stream.getvalue()).text
    assert "epochs" not in Shown(stream.getvalue()).text


def test_without_a_screen_rows_are_lines_and_quiet_prints_none() -> None:
    plain, silent = io.StringIO(), Tty()
    train(Terminal(stream=plain))
    lines = plain.getvalue().splitlines()
    assert len(lines) == 2 * EPOCHS + 1
    assert lines[0].startswith("epoch 1/20  loss 1.000 (covariance 0.700  projector 0.300)")
    assert lines[1].endswith("(best so far)")
    assert "\x1b" not in plain.getvalue()
    train(Terminal(quiet=True, stream=silent))
    assert silent.getvalue() == ""


def test_non_finite_values_are_dashes() -> None:
    row = epoch_row(record(1) | {"loss": None}, EPOCHS)
    assert row["loss"] == "-"
