"""A second command with the same configuration joins the first one's search."""

import pytest

from risjax.config.io import apply_overrides
from risjax.experiments.search import study
from risjax.runs.open_run import open_run_directory
from risjax.runs.run_directory import RunDirectoryBusy, RunDirectoryError
from risjax.runs.terminal import Terminal
from risjax.stages import run_stages
from tests.experiments.search.fake import FakeTrain, make_config

QUIET = Terminal(quiet=True)


@pytest.fixture
def config(tmp_path, monkeypatch):
    real = study.search
    monkeypatch.setattr(study, "search", lambda *arguments: real(*arguments, train=FakeTrain()))
    return apply_overrides(make_config(trials=3), {"run.directory": str(tmp_path / "run")})


def test_a_second_command_joins_the_search_only(config, capsys):
    first = open_run_directory(config)
    assert run_stages(config, Terminal(quiet=True)) == 0
    assert "the other process runs the later stages" in capsys.readouterr().out
    assert [trial["state"] for trial in first.read_json("search/trials.json")] == ["complete"] * 3
    assert not first.is_done("search"), "what is done is for the first command to say"
    assert not first.is_done("train")
    first.unlock()


def test_a_finished_search_cannot_be_joined(config):
    first = open_run_directory(config)
    first.mark_done("search")
    with pytest.raises(RunDirectoryBusy, match="is in use by process"):
        run_stages(config, QUIET)
    first.unlock()


def test_another_configuration_does_not_join(config):
    first = open_run_directory(config)
    with pytest.raises(RunDirectoryError, match=r"search\.epochs"):
        run_stages(apply_overrides(config, {"search.epochs": 9}), QUIET)
    first.unlock()
