"""TensorBoard event files: the log's numbers, when they are asked for."""

import sys

import pytest

from risjax.runs.run_directory import RunDirectory
from risjax.runs.tensorboard import EventFiles
from risjax.runs.terminal import Terminal
from risjax.train import train
from tests.tiny import tiny_config

pytest.importorskip("tensorboardX", reason="event files need tensorboardX: pip install -e '.[tensorboard]'")


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    """Every scalar of a folder's event files, read record by record: 8 bytes of length, 4 of check sum, 4 behind."""
    from tensorboardX.proto import event_pb2

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            event = event_pb2.Event.FromString(content[12 : 12 + length])  # pyright: ignore[reportAttributeAccessIssue]  (made at import)
            content = content[16 + length :]
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_event_files_contain_the_numbers_of_the_log(tmp_path):
    config = tiny_config(train__tensorboard=True, train__epochs=1)
    directory = RunDirectory(tmp_path)
    train(config, directory, Terminal(quiet=True))
    found = scalars(tmp_path / "tensorboard")
    logged = {record["step"]: record["loss"] for record in directory.read_log("step")}
    assert dict(found["step/loss"]) == pytest.approx(logged)
    assert "epoch/validation/nmse" in found
    assert "step/terms/covariance" in found


def test_without_a_folder_no_event_files_are_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    events = EventFiles(None, 0)
    events.add({"kind": "step", "loss": 1.0}, 0)
    events.close()
    with pytest.raises(ModuleNotFoundError, match="tensorboardX"):
        EventFiles(tmp_path, 0)
