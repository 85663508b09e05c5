"""The command line, called in process; the stages are stand-ins."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import risjax
from risjax import cli
from risjax.config.io import from_yaml
from risjax.config.root import Stage
from risjax.runs.run_directory import RunDirectory
from risjax.stages.table import STAGES
from tests.imported import HEAVY, run_and_list_imports

ROOT = Path(risjax.__file__).parents[1]


def test_a_run_ends_with_0_and_a_summary(ran, tmp_path, capsys):
    assert cli.main(["--config", "mine.yaml"]) == 0
    assert [name for name, _ in ran] == ["train", "evaluate"]
    out = capsys.readouterr().out
    assert "runs/mine: train done, evaluate done" in out
    assert (tmp_path / "runs/mine/config.yaml").exists()
    [logged] = RunDirectory("runs/mine").read_log("command")
    assert logged["command"].endswith("--config mine.yaml")
    assert logged["stages"] == ["train", "evaluate"]


def test_the_same_command_again_repeats_nothing(ran, capsys):
    cli.main(["--config", "mine.yaml"])
    ran.clear()
    assert cli.main(["--config", "mine.yaml"]) == 0
    assert ran == []
    assert "train: already done" in capsys.readouterr().out
    assert cli.main(["--config", "mine.yaml", "stages=[train, evaluate, report]"]) == 0
    assert [name for name, _ in ran] == ["report"]
    ran.clear()
    assert cli.main(["--config", "mine.yaml", "run.fresh=true"]) == 0
    assert [name for name, _ in ran] == ["train", "evaluate"]


def test_flags_may_stand_anywhere(ran, capsys):
    assert cli.main(["train.epochs=2", "--config", "mine.yaml", "--quiet", "model.layers=1"]) == 0
    assert (ran[0][1].train.epochs, ran[0][1].model.layers) == (2, 1)
    assert capsys.readouterr().out.startswith("\nruns/mine: train done"), "only the summary is left"


def test_print_config_writes_nothing(ran, tmp_path, capsys):
    assert cli.main(["--config", "mine.yaml", "train.epochs=2", "--print-config"]) == 0
    printed = from_yaml(capsys.readouterr().out)
    assert (printed.train.epochs, printed.run.directory) == (2, "runs/mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
    assert ran == []


def test_a_finished_stage_runs_again_if_its_file_is_deleted(ran, tmp_path):
    cli.main(["--config", "mine.yaml"])
    ran.clear()
    (tmp_path / "runs/mine/metrics.json").unlink()
    assert cli.main(["--config", "mine.yaml"]) == 0
    assert [name for name, _ in ran] == ["evaluate"]


def test_every_stage_that_a_configuration_may_name_can_run():
    assert set(STAGES) == set(get_args(Stage))


def test_the_report_alone_of_a_run_that_is_unfinished_and_in_use(ran, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(STAGES, "evaluate", lambda *_: False)
    cli.main(["--config", "mine.yaml"])
    ran.clear()
    state = (tmp_path / "runs/mine/state.json").read_text()
    directory = RunDirectory("runs/mine")
    directory.lock()
    try:
        assert cli.main(["--config", "mine.yaml", "stages=[report]"]) == 0
    finally:
        directory.unlock()
    assert [name for name, _ in ran] == ["report"]
    assert "report.html" in capsys.readouterr().out
    assert (tmp_path / "runs/mine/state.json").read_text() == state, "the run's own report is still to be written"
    assert from_yaml((tmp_path / "runs/mine/config.yaml").read_text()).stages == ("train", "evaluate")
    assert cli.main(["--config", "mine.yaml", "stages=[report]", "train.epochs=7"]) == 2
    assert "train.epochs" in capsys.readouterr().err


def test_after_a_comparison_of_settings_the_chosen_ones_are_evaluated(ran, monkeypatch):
    def tune(config, directory, terminal):
        ran.append(("tune", config))
        directory.write_json("tune.json", {"settings": {"estimator.posterior.residual_rounds": 4}})
        return True

    monkeypatch.setitem(STAGES, "tune", tune)
    settings = "tune.settings={estimator.posterior.residual_rounds: [4]}"
    assert cli.main(["--config", "mine.yaml", "stages=[train, tune, evaluate]", settings]) == 0
    rounds = {name: config.estimator.posterior.residual_rounds for name, config in ran}
    assert rounds == {"train": 2, "tune": 2, "evaluate": 4}


def test_after_a_search_the_winner_is_trained_and_evaluated(ran, monkeypatch):
    def search(config, directory, terminal):
        ran.append(("search", config))
        trials = [
            {"number": 0, "state": "complete", "value": 2.0, "params": {"train.learning_rate": 0.5}, "is_best": False},
            {"number": 1, "state": "complete", "value": 1.0, "params": {"train.learning_rate": 0.25}, "is_best": True},
        ]
        directory.write_json("search/trials.json", trials)
        return True

    monkeypatch.setitem(STAGES, "search", search)
    assert cli.main(["--config", "mine.yaml", "stages=[search, train, evaluate]"]) == 0
    rates = {name: config.train.learning_rate for name, config in ran}
    assert rates == {"search": 1e-3, "train": 0.25, "evaluate": 0.25}


def test_help_and_version_are_quick(capsys):
    for flag, said in (("--help", "examples:"), ("--version", f"risjax {risjax.__version__}")):
        with pytest.raises(SystemExit) as caught:
            cli.main([flag])
        assert caught.value.code == 0
        assert said in capsys.readouterr().out


def test_run_py_and_the_console_script_are_the_same(tmp_path):
    run = [sys.executable, str(ROOT / "run.py")]
    script = [sys.executable, "-c", "import sys; from risjax.cli import main; sys.exit(main())"]
    outputs = [
        subprocess.run([*start, "--config", "quick", "--print-config"], cwd=tmp_path, capture_output=True, check=True)
        for start in (run, script)
    ]
    assert outputs[0].stdout == outputs[1].stdout
    bad = subprocess.run([*run, "--config", "quick", "model.heads=3"], cwd=tmp_path, capture_output=True, check=False)
    assert bad.returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], ("pydantic", "rich", "yaml", *HEAVY)),
        (["--config", "quick.yaml", "--print-config"], ("rich", *HEAVY)),
        (["--config", "mine.yaml"], HEAVY),
    ],
    ids=["help", "print-config", "finished run"],
)
def test_quick_answers_import_little(arguments, absent, ran, tmp_path):
    """Measured on two idle cores: 0.15 s, 0.4 s and 0.5 s. Each of the absent packages takes 0.1 s to 1 s."""
    (tmp_path / "mine.yaml").write_text("stages: [search, train, report]\n")
    trials = tmp_path / "runs/mine/search/trials.json"
    trials.parent.mkdir(parents=True)
    trials.write_text('[{"is_best": true, "params": {}, "value": 1.0}]')
    assert cli.main(["--config", "mine.yaml"]) == 0
    code, imported, _ = run_and_list_imports(arguments)
    assert code == "0"
    assert not {*absent} & imported


def test_a_network_is_not_loaded_under_strict_promotion():
    code = "import risjax; risjax.load('original')"
    environment = {**os.environ, "JAX_NUMPY_DTYPE_PROMOTION": "strict"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "JaxSettingsError: JAX_NUMPY_DTYPE_PROMOTION is strict, expected standard" in done.stderr
