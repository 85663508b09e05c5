"""The loop: it learns, logs, resumes to the same numbers, and stops with a reason."""

import errno
import json
import re
import shutil
from types import SimpleNamespace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config.errors import ConfigError
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train import CheckpointError, Checkpoints, NonFiniteTraining, Trainer, load_best, train
from risjax.train import checkpoint as checkpoint_module
from risjax.train.settings import program_key
from risjax.train.trainer import make_program
from risjax.types import Scene
from tests.runs.terminal.screen import Shown
from tests.runs.terminal.test_terminal import Tty
from tests.tiny import tiny_config

QUIET = Terminal(quiet=True)


def records(directory: RunDirectory, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in directory.log_path.read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def without_times(lines: list[dict]) -> list[dict]:
    return [{key: line[key] for key in line if key not in ("seconds", "scenes_per_second")} for line in lines]


class Killed(Exception):
    pass


@jax.jit  # the loop allows no transfer of a constant from the host
def spoiled(batch: Scene) -> Scene:
    """The batch with the label of scene 2 overwritten."""
    return batch._replace(truth=batch.truth._replace(label_factor=batch.truth.label_factor.at[2].set(jnp.nan)))


def spoil_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Trainer.draw
    monkeypatch.setattr(Trainer, "draw", lambda self, step: spoiled(draw(self, step)))


def test_a_training_logs_its_health_and_resumes_to_the_same_numbers(tmp_path):
    config = tiny_config(train__epochs=3)
    unbroken, broken = RunDirectory(tmp_path / "unbroken"), RunDirectory(tmp_path / "broken")
    outcome = train(config, unbroken, QUIET)

    def die(record):
        if record["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        train(config, broken, QUIET, on_epoch=die)
    # What a kill in the middle of epoch 3 leaves behind: steps logged after the last checkpoint.
    broken.append_log({"kind": "step", "epoch": 3, "step": 12, "loss": 0.0})
    screen = Tty()
    resumed = train(config, broken, Terminal(stream=screen))

    assert resumed == outcome
    shown = Shown(screen.getvalue())
    rows = [line.split() for line in shown.text.splitlines() if "/3 " in line]
    assert [row[0] for row in rows] == ["1/3", "2/3", "3/3"], "the epochs before the break, too"
    assert [row[-1] for row in rows].index("best") == outcome.best_epoch - 1
    assert shown.cursor_is_visible
    for kind in ("step", "epoch"):
        assert without_times(records(broken, kind)) == without_times(records(unbroken, kind))
    chex.assert_trees_all_equal(load_best(config, broken), load_best(config, unbroken))

    steps, epochs = records(unbroken, "step"), records(unbroken, "epoch")
    assert [line["step"] for line in steps] == list(range(18))
    assert [line["epoch"] for line in epochs] == [1, 2, 3]
    assert epochs[-1]["schedule_count"] == epochs[-1]["applied_updates"] == 18
    expected = {
        "loss",
        "terms",
        "grad_norm_backbone",
        "grad_norm_head",
        "update_norm",
        "finite",
        "loss_scale",
        "skipped",
    }
    assert expected <= set(steps[0])
    assert set(steps[0]["terms"]) == {"covariance", "projector"}
    (dtypes,) = records(unbroken, "dtypes")
    assert set(dtypes["after"].values()) <= {"float32", "complex64", "int32"}


def test_a_kill_between_checkpoint_and_log_loses_no_epoch_of_the_log(tmp_path, monkeypatch):
    config = tiny_config(train__epochs=2)
    unbroken, broken = RunDirectory(tmp_path / "unbroken"), RunDirectory(tmp_path / "broken")
    outcome = train(config, unbroken, QUIET)
    append_log = RunDirectory.append_log

    def die(self, record):
        if record["kind"] == "epoch" and record["epoch"] == 2:
            raise Killed
        append_log(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append_log", die)
        with pytest.raises(Killed):
            train(config, broken, QUIET)
    assert [line["epoch"] for line in records(broken, "epoch")] == [1]
    for _ in range(2):
        assert train(config, broken, QUIET) == outcome
        for kind in ("step", "epoch"):
            assert without_times(records(broken, kind)) == without_times(records(unbroken, kind))


def test_a_finished_training_is_not_repeated(tmp_path):
    config, directory = tiny_config(train__epochs=1), RunDirectory(tmp_path)
    outcome = train(config, directory, QUIET)
    before = directory.log_path.read_text()
    assert train(config, directory, QUIET) == outcome
    assert directory.log_path.read_text() == before


def test_a_trained_network_is_loaded_without_compiling_its_initial_state(tmp_path):
    config, directory = tiny_config(train__epochs=1), RunDirectory(tmp_path)
    train(config, directory, QUIET)
    make_program.cache_clear()
    params = load_best(config, directory)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
    init: Any = make_program(program_key(config)).init
    assert init._cache_size() == 0


def test_too_many_skipped_steps_stop_the_run_and_name_term_and_scene(tmp_path, monkeypatch):
    config = tiny_config(checks__finite=False, train__max_consecutive_skips=3)
    spoil_draws(monkeypatch)
    monkeypatch.setattr("risjax.train.settings.LOG_INTERVAL_STEPS", 3)
    with pytest.raises(
        NonFiniteTraining, match=r"(?s)3 steps in a row.*labels\.factor of scenes 2.*'covariance'.*scenes 2"
    ):
        train(config, RunDirectory(tmp_path), QUIET)


def test_a_failed_assertion_stops_the_run_and_names_the_leaf(tmp_path, monkeypatch):
    spoil_draws(monkeypatch)
    with pytest.raises(NonFiniteTraining, match=r"(?s)step 0 .*labels not finite.*labels\.factor of scenes 2"):
        train(tiny_config(), RunDirectory(tmp_path), QUIET)


def test_codes_of_another_shape_are_an_error_of_the_configuration(tmp_path):
    np.save(tmp_path / "codes.npy", np.ones((8, 35), complex))
    codes = {"kind": "file", "path": str(tmp_path / "codes.npy"), "num_snapshots": 8}
    directory = RunDirectory(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"cannot be built: codebook\.path: .* has shape \[8, 35\], expected"):
        train(tiny_config(physics__codebook=codes), directory, QUIET)
    assert not directory.log_path.exists()


def test_overfit_gate(tmp_path):
    """A fixed handful of scenes is memorised: the network, the loss and the optimizer do their work together."""
    config = tiny_config(
        train__dataset_scenes=8,
        train__batch_size=8,
        train__learning_rate=4e-3,
        train__epochs=1,
        train__steps_per_epoch=200,
        model__width=64,
        model__layers=2,
        model__heads=4,
        physics__scene__snr_db=[10.0, 20.0],
        loss__projector__weight=0.1,
    )
    directory = RunDirectory(tmp_path)
    train(config, directory, QUIET)
    final = np.mean([line["terms"]["covariance"] for line in records(directory, "step")[-20:]])
    assert final < 0.01


def test_checkpoints_keep_the_last_and_the_best_and_survive_damage(tmp_path):
    trainer = Trainer(tiny_config())
    state, checkpoints = trainer.init(), Checkpoints(tmp_path)
    for epoch, best in ((1, 1), (2, 1), (3, 1)):
        metadata = {"epoch": epoch, "best_epoch": best, "best": {"gospa_m": 1.0}}
        checkpoints.save(state._replace(step=jnp.asarray(epoch, jnp.int32)), metadata, best_epoch=best)
    assert checkpoints.epochs() == [1, 3]
    (tmp_path / "epoch_00004").mkdir()  # an empty directory is no checkpoint
    loaded = checkpoints.load_last(state)
    assert loaded is not None
    assert int(loaded.state.step) == 3
    assert loaded.metadata == {"epoch": 3, "best_epoch": 1, "best": {"gospa_m": 1.0}}
    chex.assert_trees_all_equal(loaded.state.params, state.params)

    # orbax loads flipped values without a word; what tells them is our digest, flipped here in their stead.
    (metadata,) = (tmp_path / "epoch_00003").rglob("_CHECKPOINT_METADATA")
    (digest,) = re.findall(r"[0-9a-f]{64}", metadata.read_text())
    metadata.write_text(metadata.read_text().replace(digest, digest[::-1]))
    loaded = checkpoints.load_last(state)
    assert loaded is not None
    assert int(loaded.state.step) == 1

    shutil.rmtree(tmp_path / "epoch_00001")
    with pytest.raises(CheckpointError, match=r"no intact checkpoint is left(?s:.*)SHA-256"):
        checkpoints.load_last(state)


def test_checkpoints_leave_files_of_others_alone(tmp_path):
    (tmp_path / ".DS_Store").write_text("Finder")
    (tmp_path / ".nfs000000000001").write_text("still open elsewhere")
    (tmp_path / "epoch_00001_paper_backup").mkdir()
    (tmp_path / "epoch_00001_paper_backup" / "weights").write_text("figure 3")
    (tmp_path / "epoch_00001.orbax-checkpoint-tmp").mkdir()  # an unfinished checkpoint of a killed process
    state, checkpoints = Trainer(tiny_config()).init(), Checkpoints(tmp_path)
    for epoch in (1, 2, 3):
        checkpoints.save(state, {"epoch": epoch, "best_epoch": epoch, "best": {}}, best_epoch=epoch)
    kept = {".DS_Store", ".nfs000000000001", "epoch_00001_paper_backup"}
    assert {path.name for path in tmp_path.iterdir()} == kept | {"epoch_00003"}
    assert (tmp_path / "epoch_00001_paper_backup" / "weights").read_text() == "figure 3"
    assert checkpoints.epochs() == [3]
    checkpoints.delete()
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_full_disk_is_an_error_of_the_system_before_and_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    state, checkpoints = Trainer(tiny_config()).init(), Checkpoints(tmp_path)
    checkpoints.save(state, {"epoch": 1, "best_epoch": 1, "best": {}}, best_epoch=1)

    def full(path, *_, **__):
        raise ValueError(f"RESOURCE_EXHAUSTED: Failed to write 4 bytes to {path}: No space left [os_error_code='28']")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module.orbax, "save", full)
        with pytest.raises(OSError, match="epoch_00002") as caught:
            checkpoints.save(state, {"epoch": 2, "best_epoch": 1, "best": {}}, best_epoch=1)
        assert caught.value.errno == errno.ENOSPC
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module.shutil, "disk_usage", lambda _: SimpleNamespace(total=10**9, free=0))
        with pytest.raises(OSError, match="No space left") as caught:
            checkpoints.save(state, {"epoch": 2, "best_epoch": 1, "best": {}}, best_epoch=1)
    loaded = checkpoints.load_last(state)
    assert loaded is not None
    assert loaded.metadata["epoch"] == 1
