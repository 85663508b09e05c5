"""Faults of the file system and damaged files: one sentence with the path and the remedy."""

import errno
import os

import pytest

from risjax.config import Config, RunConfig
from risjax.runs import faults, open_run, run_directory
from risjax.runs.faults import file_fault
from risjax.runs.open_run import open_run_directory
from risjax.runs.run_directory import RunDirectory, RunDirectoryBusy, RunDirectoryError, write_atomically


def config_at(path) -> Config:
    return Config(stages=("train",), run=RunConfig(directory=str(path)))


@pytest.mark.parametrize("code", sorted(faults._REMEDIES))
def test_a_fault_is_one_sentence_with_path_and_remedy(code):
    text = file_fault(OSError(code, os.strerror(code), "/data/run/log.jsonl"), "/data/run")
    assert text is not None
    assert text.startswith("/data/run/log.jsonl: ")
    assert text.endswith(", then run the same command again")
    assert "\n" not in text


def test_a_fault_without_a_path_names_the_directory():
    assert (file_fault(OSError(errno.ENOSPC, "No space left"), "/data/run") or "").startswith("/data/run: the disk is")


def test_other_errors_are_not_faults_of_the_file_system(tmp_path):
    assert file_fault(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), tmp_path) is None
    assert file_fault(FileNotFoundError(errno.ENOENT, "missing", str(tmp_path / "a")), tmp_path) is None


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match=r"file/run.*: a part of this path is a file, expected directories"):
        open_run_directory(config_at(tmp_path / "file" / "run"))


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"x: the name is too long; name a shorter run\.directory"):
        open_run_directory(config_at(tmp_path / ("x" * 300)))


def test_a_dangling_link_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "unmounted")
    with pytest.raises(RunDirectoryError, match=r"link: is a file, or a link whose target is missing"):
        open_run_directory(config_at(tmp_path / "link"))


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_not_taken_for_another_process(tmp_path, monkeypatch, code):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(run_directory.fcntl, "flock", flock)
    with pytest.raises(RunDirectoryError, match=r"\.lock: this file system has no file locks") as caught:
        open_run_directory(config_at(tmp_path / "run"))
    assert not isinstance(caught.value, RunDirectoryBusy)


def test_a_read_only_directory_is_refused(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "run" / "config.yaml"))

    monkeypatch.setattr(open_run, "write_atomically", refuse)
    with pytest.raises(RunDirectoryError, match=r"config\.yaml: the file system is read-only"):
        open_run_directory(config_at(tmp_path / "run"))


def test_a_failed_write_names_its_file_and_keeps_the_old_one(tmp_path, monkeypatch):
    write_atomically(tmp_path / "metrics.json", "old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_directory.os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "metrics.json", "new")
    assert caught.value.filename == str(tmp_path / "metrics.json")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_text() == "old"


@pytest.mark.parametrize("text", ["", '{"done": {"tra', "[]", "{}", '{"done": 3}', "\ufeff\x00"])
def test_a_damaged_state_is_named_with_the_remedy(tmp_path, text):
    directory = RunDirectory(tmp_path)
    (tmp_path / "state.json").write_text(text, encoding="utf-8")
    for use in (directory.is_done, directory.mark_done, directory.mark_undone):
        with pytest.raises(RunDirectoryError, match=r"state\.json .*delete this file and run the same command again"):
            use("train")


@pytest.mark.parametrize(("name", "default"), [("predict.json", {}), ("search/trials.json", [])])
@pytest.mark.parametrize("text", ["", '[{"number": 0, "sta', "7"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, name, default, text):
    (RunDirectory(tmp_path).path / name).write_text(text)
    with pytest.raises(RunDirectoryError, match=rf"{name} .*delete this file"):
        RunDirectory(tmp_path).read_json(name, default)


@pytest.mark.parametrize("line", ["", "{torn", "[1, 2]"])
def test_a_damaged_line_of_the_log_is_named(tmp_path, line):
    directory = RunDirectory(tmp_path)
    directory.append_log({"kind": "step", "step": 0})
    with directory.log_path.open("a") as file:
        file.write(line + "\n")
    directory.append_log({"kind": "step", "step": 1})
    with pytest.raises(RunDirectoryError, match=r"log\.jsonl: line 2 is not a JSON object; delete this line"):
        list(directory.read_log("step"))
