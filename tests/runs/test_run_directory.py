"""The run directory: resuming, refusing, moving aside, and surviving what crashes leave behind."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from risjax.config import Config, RunConfig
from risjax.config.io import apply_overrides, from_yaml
from risjax.runs.open_run import open_run_directory
from risjax.runs.run_directory import RunDirectory, RunDirectoryError


@pytest.fixture
def config(tmp_path):
    return Config(stages=("train", "evaluate"), run=RunConfig(directory=str(tmp_path / "runs" / "mine")))


def reopened(config, **changes):
    values = {name.replace("__", "."): value for name, value in changes.items()}
    directory = open_run_directory(apply_overrides(config, values))
    directory.unlock()
    return directory


def test_a_new_directory_holds_the_resolved_config(config):
    directory = reopened(config)
    assert from_yaml(directory.config_path.read_text()) == config
    assert directory.checkpoints.is_dir()
    assert directory.search.is_dir()
    assert directory.figures.is_dir()


def test_the_same_config_resumes(config):
    reopened(config).mark_done("train")
    again = reopened(config)
    assert again.is_done("train")
    assert not again.is_done("evaluate")


def test_a_changed_config_is_refused_with_the_settings_named_and_nothing_changed(config):
    directory = reopened(config)
    before = sorted((path, path.stat().st_mtime_ns) for path in directory.path.rglob("*"))
    with pytest.raises(RunDirectoryError) as caught:
        reopened(config, train__epochs=3, model__width=64)
    assert "train.epochs: 12 there, 3 now" in str(caught.value)
    assert "model.width: 128 there, 64 now" in str(caught.value)
    assert "run.fresh=true" in str(caught.value)
    assert sorted((path, path.stat().st_mtime_ns) for path in directory.path.rglob("*")) == before


def test_a_moved_directory_still_resumes(config, tmp_path):
    reopened(config).path.rename(tmp_path / "elsewhere")
    directory = reopened(config, run__directory=str(tmp_path / "elsewhere"))
    assert directory.path == tmp_path / "elsewhere"


def test_a_list_of_stages_may_be_continued_but_not_changed(config):
    reopened(config)
    longer = reopened(config, stages=["train", "evaluate", "report"])
    assert from_yaml(longer.config_path.read_text()).stages == ("train", "evaluate", "report")
    shorter = reopened(config, stages=["train"])
    assert from_yaml(shorter.config_path.read_text()).stages == ("train", "evaluate", "report"), "the longer list stays"
    with pytest.raises(RunDirectoryError, match="stages: "):
        reopened(config, stages=["search", "train"])


def test_another_password_resumes_and_is_never_written(config):
    stored = reopened(config, search__storage="postgresql://ada:primrose@host/db").path
    reopened(config, search__storage="postgresql://ada:cowslip@host/db")
    text = "".join(path.read_text() for path in stored.rglob("*") if path.is_file())
    assert "primrose" not in text
    assert "cowslip" not in text
    with pytest.raises(RunDirectoryError, match=r"search\.storage"):
        reopened(config, search__storage="postgresql://ada:primrose@other/db")


def test_fresh_moves_the_old_one_aside_and_deletes_nothing(config):
    old = reopened(config)
    old.mark_done("train")
    (old.path / "precious.txt").write_text("mine")
    new = reopened(config, run__fresh=True, train__epochs=3)
    assert not new.is_done("train")
    assert not from_yaml(new.config_path.read_text()).run.fresh, "what resumes it must not start anew"
    (aside,) = (path for path in new.path.parent.iterdir() if path != new.path)
    assert aside.name.startswith("mine.2")
    assert (aside / "precious.txt").read_text() == "mine"
    assert RunDirectory(aside).is_done("train")
    reopened(config, run__fresh=True)
    assert len(list(new.path.parent.iterdir())) == 3, "twice within a second takes another name"


def test_fresh_on_a_new_directory_creates_it(config):
    assert reopened(config, run__fresh=True).config_path.exists()


@pytest.mark.parametrize("fresh", [True, False])
def test_a_directory_of_another_program_is_refused_and_unchanged(config, tmp_path, fresh):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunDirectoryError, match=r"files that no run wrote \(thesis.tex\)"):
        reopened(config, run__directory=str(tmp_path), run__fresh=fresh)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_refused_as_a_run_directory(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="is a file"):
        reopened(config, run__directory=str(tmp_path / "file"))


def test_a_damaged_config_is_refused_unless_fresh(config):
    reopened(config).config_path.write_text("stages: [train")
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        reopened(config)
    assert reopened(config, run__fresh=True).config_path.exists()


def test_one_process_locks_a_directory_until_it_ends(config):
    directory = reopened(config)
    code = (
        "import sys, time; from risjax.runs.run_directory import RunDirectory; "
        f"d = RunDirectory({str(directory.path)!r}); d.lock(); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(RunDirectoryError, match=f"in use by process {holder.pid}"):
            open_run_directory(config)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    open_run_directory(config).unlock()


def test_the_log_keeps_order_and_kinds(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.append_log({"kind": "step", "step": 0, "loss": np.float32(1.5)})
    directory.append_log({"kind": "epoch", "epoch": 1, "validation": {"nmse": math.nan}})
    directory.append_log({"kind": "step", "step": 1, "loss": math.inf})
    assert [record["step"] for record in directory.read_log("step")] == [0, 1]
    assert [record["loss"] for record in directory.read_log("step")] == [1.5, None], "JSON has no infinity"
    directory.truncate_log(lambda record: record.get("step", -1) >= 1)
    assert [record["kind"] for record in directory.read_log()] == ["step", "epoch"]


def test_a_torn_last_line_is_skipped_and_cut_on_resumption(config):
    directory = reopened(config)
    directory.append_log({"kind": "step", "step": 0})
    with directory.log_path.open("a") as file:
        file.write('{"kind": "step", "st')
    assert len(list(directory.read_log())) == 1
    directory = reopened(config)
    directory.append_log({"kind": "step", "step": 1})
    assert [record["step"] for record in directory.read_log()] == [0, 1]


def test_json_accepts_arrays_and_refuses_complex_numbers(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.write_json("search/x.json", {"a": np.arange(3), "b": (1, None), "c": np.bool_(True), 4: tmp_path})
    expected = {"a": [0, 1, 2], "b": [1, None], "c": True, "4": str(tmp_path)}
    assert directory.read_json("search/x.json") == expected
    assert directory.read_json("missing.json", 7) == 7
    with pytest.raises(TypeError, match="got a complex, expected a JSON value"):
        directory.write_json("search/x.json", 1j)
    assert directory.read_json("search/x.json") == expected, "the old file is whole"


def test_a_kill_during_a_write_leaves_the_old_or_the_new_file(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.write_json("m.json", {"n": -1})
    code = (
        "from risjax.runs.run_directory import RunDirectory\n"
        f"d = RunDirectory({str(tmp_path)!r})\nn = 0\n"
        "while True:\n    d.write_json('m.json', {'n': n, 'pad': 'x' * 100000}); n += 1\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as writer:
        deadline = time.monotonic() + 30
        while directory.read_json("m.json")["n"] < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
    assert json.loads((tmp_path / "m.json").read_text())["n"] >= 5
