"""Exit codes and messages of the command line for bad input, interruptions and failed stages."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import risjax
from risjax import cli
from risjax.stages import StageError
from risjax.stages.table import STAGES

ROOT = Path(risjax.__file__).parents[1]


def test_a_bad_configuration_exits_2_and_writes_nothing(ran, tmp_path, capsys):
    assert cli.main(["--config", "mine.yaml", "train.lr=3", "model.heads=3"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: 2 problems in the configuration\n")
    assert "did you mean train.learning_rate?" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_bad_search_space_exits_2_and_writes_nothing(ran, tmp_path, capsys):
    space = "search.space={train.learning_raet: {uniform: [1e-4, 1e-3]}}"
    assert cli.main(["--config", "mine.yaml", "stages=[search]", space]) == 2
    assert "did you mean train.learning_rate?" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_changed_configuration_exits_2(ran, capsys):
    cli.main(["--config", "mine.yaml"])
    assert cli.main(["--config", "mine.yaml", "train.epochs=3"]) == 2
    assert "train.epochs: 12 there, 3 now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--config NAME.yaml is missing; there are ablation.yaml"),
        (["--confg", "mine.yaml"], "did you mean --config?"),
        (["--conf", "mine.yaml"], "did you mean --config?"),
        (["--config", "mine.yaml", "--train.epochs=3"], "settings take no dashes: train.epochs=3"),
        (["--config", "mine.yaml", "--print"], "did you mean --print-config?"),
        (["--config"], "expected one argument"),
    ],
)
def test_a_misspelt_flag_exits_2_and_is_never_taken_for_an_abbreviation(ran, tmp_path, capsys, arguments, said):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
    assert ran == []
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_missing_config_lists_the_searched_paths(ran, tmp_path, capsys):
    assert cli.main(["--config", "quikc.yaml"]) == 2
    err = capsys.readouterr().err
    assert f"looked for {tmp_path}/quikc.yaml and {ROOT}/configs/quikc.yaml; did you mean quick.yaml?" in err


def test_ctrl_c_exits_130_and_prints_the_resume_command(ran, monkeypatch, capsys):
    def interrupted(config, directory, terminal):
        raise KeyboardInterrupt

    monkeypatch.setitem(STAGES, "train", interrupted)
    arguments = ["--config", "mine.yaml", "search.storage=postgresql://ada:s3cret@host/db", "run.fresh=true"]
    assert cli.main(arguments) == 130
    err = capsys.readouterr().err
    assert "interrupted; to resume: " in err
    assert err.rstrip().endswith("--config mine.yaml 'search.storage=postgresql://ada:***@host/db' run.fresh=false")


def test_a_failed_stage_exits_1_and_can_be_resumed(ran, monkeypatch, capsys):
    def failed(config, directory, terminal):
        raise StageError("train: the loss is not finite at step 7")

    working = STAGES["train"]
    monkeypatch.setitem(STAGES, "train", failed)
    assert cli.main(["--config", "mine.yaml"]) == 1
    assert "error: train: the loss is not finite at step 7\nto resume: " in capsys.readouterr().err
    monkeypatch.setitem(STAGES, "train", working)
    assert cli.main(["--config", "mine.yaml"]) == 0
    assert [name for name, _ in ran] == ["train", "evaluate"]


def test_a_full_disk_exits_1_with_the_file_and_the_resume_command(ran, monkeypatch, capsys):
    def full(config, directory, terminal):
        raise OSError(errno.ENOSPC, "No space left on device", "runs/mine/log.jsonl")

    monkeypatch.setitem(STAGES, "train", full)
    assert cli.main(["--config", "mine.yaml"]) == 1
    err = capsys.readouterr().err
    assert "error: runs/mine/log.jsonl: the disk is full; free some space" in err
    assert err.rstrip().endswith("--config mine.yaml")


def test_a_damaged_state_exits_2_and_names_the_file(ran, tmp_path, capsys):
    cli.main(["--config", "mine.yaml"])
    (tmp_path / "runs/mine/state.json").write_text("")
    assert cli.main(["--config", "mine.yaml"]) == 2
    assert "error: runs/mine/state.json is not valid JSON" in capsys.readouterr().err


def test_a_failed_check_exits_1_and_is_not_done(ran, monkeypatch, capsys):
    monkeypatch.setitem(STAGES, "evaluate", lambda *_: False)
    assert cli.main(["--config", "mine.yaml"]) == 1
    assert "train done, evaluate NOT done" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["physics", "evaluate.sources[0].physics"])
def test_a_codebook_file_of_phases_exits_2_and_writes_nothing(ran, tmp_path, capsys, place):
    np.save(tmp_path / "codes.npy", np.random.default_rng(0).uniform(0, 6, (16, 144)))
    overrides = [f"{place}.codebook={{kind: file, path: codes.npy}}"]
    assert cli.main(["--config", "mine.yaml", *overrides]) == 2
    error = capsys.readouterr().err
    assert f"  {place}.codebook.path\n" in error
    assert "phases in radians?" in error
    assert ran == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("JAX_PLATFORMS", "cuda", "JAX_PLATFORMS is 'cuda', and JAX finds no such device"),
        ("JAX_NUMPY_DTYPE_PROMOTION", "strict", "JAX_NUMPY_DTYPE_PROMOTION is strict, expected standard"),
    ],
)
def test_settings_of_jax_that_cannot_work_are_one_sentence_and_exit_2(tmp_path, variable, value, expected):
    if value == "cuda" and any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("there is a GPU here")
    (tmp_path / "a.yaml").write_text("stages: [train]\n")
    code = "import sys; from risjax.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--config", "a.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, variable: value}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert f"error: {expected}" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]
