"""Stages whose input can change after they finished: when they are called again, and what they repeat."""

import os
from pathlib import Path

import numpy as np
import pytest

from risjax import cli
from risjax.stages.table import STAGES
from tests.imported import HEAVY, run_and_list_imports

COMMAND = ["--config", "mine.yaml"]
CONFIG = """
stages: [ablate]
train: {epochs: 1, steps_per_epoch: 1}
evaluate: {sources: [{name: own, path: own.npz}]}
ablate: {variants: [{name: base}, {name: slow, settings: {train.learning_rate: 1.0e-4}}]}
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A working directory with the configuration of a comparison, and the number of its calls."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(CONFIG)
    (tmp_path / "own.npz").write_bytes(b"scenes")
    calls = []

    def compare(config, directory, terminal):
        calls.append(config)
        training = directory.path / "ablation/base/seed_0/config.yaml"
        training.parent.mkdir(parents=True, exist_ok=True)
        training.write_text("a training")
        directory.write_json("ablation.json", {"tables": {"Differences": [{"variant": "slow", "f1": -0.1}]}})
        return True

    monkeypatch.setitem(STAGES, "ablate", compare)
    return calls


def test_a_finished_comparison_shows_its_tables_without_jax(calls):
    assert cli.main(COMMAND) == 0
    code, imported, printed = run_and_list_imports(COMMAND)
    assert code == "0"
    assert "ablate: already done" in printed
    assert "-0.1" in printed
    assert not {*HEAVY} & imported


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("own.npz").write_bytes(b"others"),
        lambda: os.utime("own.npz", ns=(1, 1)),
        lambda: Path("runs/mine/ablation.json").unlink(),
        lambda: Path("runs/mine/ablation/base/seed_0/config.yaml").unlink(),
        lambda: Path("mine.yaml").write_text(CONFIG.replace("1.0e-4", "2.0e-4")),
    ],
    ids=["scenes", "time of the scenes", "table deleted", "training deleted", "variant"],
)
def test_a_change_of_files_or_variants_calls_the_stage_again(calls, change):
    assert cli.main(COMMAND) == 0
    assert cli.main(COMMAND) == 0
    assert len(calls) == 1
    change()
    assert cli.main(COMMAND) == 0
    assert len(calls) == 2


def test_other_codes_in_the_same_file_call_the_stage_again(calls):
    np.save("codes.npy", np.ones((16, 144), np.complex64))
    command = [*COMMAND, "physics.codebook.kind=file", "physics.codebook.path=codes.npy"]
    assert cli.main(command) == 0
    assert cli.main(command) == 0
    assert len(calls) == 1
    np.save("codes.npy", -np.ones((16, 144), np.complex64))
    assert cli.main(command) == 0
    assert len(calls) == 2


def test_run_settings_that_change_no_result_do_not(calls):
    assert cli.main(COMMAND) == 0
    assert cli.main([*COMMAND, "run.compile_cache=off"]) == 0
    assert len(calls) == 1
