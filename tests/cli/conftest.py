"""A working directory in which every stage is a stand-in."""

import pytest

from risjax.stages import run
from risjax.stages.table import STAGES


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """A working directory with ``mine.yaml``, and the list of stages that ran in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("stages: [train, evaluate]\n")
    monkeypatch.setattr(run, "announce_duration", lambda *_: {})  # it would compile and measure
    calls = []

    def stand_in(name):
        def stage(config, directory, terminal):
            calls.append((name, config))
            if name == "evaluate":
                directory.write_json("metrics.json", {"sources": {}})
            return True

        return stage

    for name in STAGES:
        monkeypatch.setitem(STAGES, name, stand_in(name))
    return calls
