"""The table of docs/learning.md with the files that a training batch passes, against a trace of the step."""

import re
import sys
from pathlib import Path
from types import FrameType

import jax
import pytest

import risjax
from risjax.config.io import load_config
from risjax.train import Trainer

PACKAGE = Path(risjax.__file__).resolve().parent


@pytest.mark.slow  # (a minute: every Python call of the trace is noted)
def test_the_table_has_every_file_in_the_order_of_the_first_call():
    trainer = Trainer(load_config("quick.yaml", ["checks.finite=false"]))
    state = trainer.abstract_state()
    passed: dict[str, None] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE) and "_compat" not in path.parts:
            passed[path.relative_to(PACKAGE).as_posix()] = None

    jax.clear_caches()
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        batch = jax.eval_shape(trainer.program.draw, trainer.settings, state.step)
        jax.eval_shape(trainer.program.step, state, batch, trainer.settings)
    finally:
        sys.setprofile(before)
    page = (PACKAGE.parent / "docs" / "learning.md").read_text(encoding="utf-8")
    section = page.split("### The files that a training batch passes")[1].split("\n## ")[0]
    assert re.findall(r"`([\w/]+\.py)`", section.split("\nHalf of them")[0]) == list(passed)
