"""A release is written after a training and evaluated without one."""

import hashlib
import json
import shutil
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from risjax import cli
from risjax.config.errors import ConfigError
from risjax.config.io import apply_overrides, differences, from_yaml, load_config, to_yaml
from risjax.config.weights import find_weights
from risjax.inference.release import WeightsError, card, load_params, read_weights, release, write_weights
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.terminal import Terminal
from risjax.train import Checkpoints, Trainer, load_best
from tests.inference.released import tiny_release
from tests.tiny import TINY, tiny_config

SHRUNK = [f"{name}={value}" for name, value in TINY.items()]
EVALUATED = ["evaluate.sources=[{name: held_out, scenes: 6}]", "evaluate.methods=[learned_mvdr, mvdr]"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with checkpoints, a log and an evaluation, none of which it cost time to make, and its release."""
    directory = RunDirectory(tmp_path_factory.mktemp("trained") / "mine")
    config = tiny_config(physics__scene__snr_db=[10.0, 20.0], run__directory=str(directory.path))
    write_atomically(directory.config_path, to_yaml(config))
    state = Trainer(config).init()
    best = state._replace(ema=jax.tree.map(lambda leaf: leaf + 1, state.ema))
    checkpoints = Checkpoints(directory.checkpoints)
    checkpoints.save(best, {"epoch": 1, "best_epoch": 1, "best": {}}, best_epoch=1)
    checkpoints.save(state, {"epoch": 2, "best_epoch": 1, "best": {}}, best_epoch=1)
    for epoch, value in ((1, 1.25), (2, 1.5)):
        record = {"kind": "epoch", "epoch": epoch, "best_epoch": 1, "validation": {"gospa_m": value}, "seconds": 61.0}
        directory.append_log({**record, "applied_updates": 6 * epoch, "skipped_steps": 0})
    directory.append_log({"kind": "environment", "device": "a device", "processor": "a processor", "jax": "0.1"})
    for number in (1, 1, 2):  # the first was resumed
        directory.append_log(
            {"kind": "command", "command": f"risjax --config {number}.yaml 'a|b'", "stages": ["train"]}
        )
    figure = {"value": 0.5, "low": 0.25, "high": 0.75, "count": 9}
    overall = {"overall": {"f1_3d": figure, "gospa_m": figure}}
    entry = {
        "scenes": 9,
        "methods": {"learned_mvdr": overall, "mvdr": {"overall": {}}},
        "pairs": {"learned_mvdr_minus_mvdr": overall},
        "notes": ["a note"],
    }
    directory.write_json("metrics.json", {"sources": {"held_out": entry}})
    release(config, directory, Terminal(quiet=True))
    return directory


def test_a_release_holds_the_averaged_parameters_of_the_best_epoch(trained: RunDirectory) -> None:
    config = from_yaml(trained.config_path.read_text())
    folder = trained.path / "release"
    assert {path.name for path in folder.iterdir()} == {"weights.safetensors", "config.yaml", "card.md", "metrics.json"}
    released = from_yaml((folder / "config.yaml").read_text())
    assert differences(config, released) == {"run.directory": (config.run.directory, None)}
    assert json.loads((folder / "metrics.json").read_text()) == trained.read_json("metrics.json")
    params, _ = read_weights(folder / "weights.safetensors")
    chex.assert_trees_all_equal(params, load_best(config, trained))


def test_the_card_contains_the_figures_of_the_run(trained: RunDirectory) -> None:
    card = (trained.path / "release" / "card.md").read_text()
    for text in (
        "# mine",
        "12 applied, of 4 scenes (48 scenes)",
        "SNR 10.0 … 20.0 dB",
        "after epoch 1, the best in validation `gospa_m` (1.25)",
        "| hardware | a device; a processor |",
        "| wall time | 2 min 2 s, validation included |",
        "| learned_mvdr | 0.500 [0.250, 0.750] | 0.500 [0.250, 0.750] |",
        "| mvdr | - | - |",
        "| learned_mvdr - mvdr | +0.500 [+0.250, +0.750] | - |",
        "- a note",
        "| commands | `risjax --config 1.yaml 'a\\|b'`, `risjax --config 2.yaml 'a\\|b'` |",
        "6 by 6 elements",
        hashlib.sha256((trained.path / "release" / "weights.safetensors").read_bytes()).hexdigest(),
    ):
        assert text in card, text


def test_the_card_is_that_of_the_weights_where_the_best_checkpoint_is_damaged(tmp_path: Path) -> None:
    """The process was killed before it deleted the checkpoints that the third one, now damaged, replaced."""
    config = tiny_config(run__directory=str(tmp_path))
    directory = RunDirectory(tmp_path)
    state, checkpoints = Trainer(config).init(), Checkpoints(directory.checkpoints)
    for epoch, best in ((1, 1), (2, 1)):
        checkpoints.save(state, {"epoch": epoch, "best_epoch": best, "best": {}}, best_epoch=best)
    (checkpoints.directory / "epoch_00003").mkdir()
    for epoch, best in ((1, 1), (2, 1), (3, 3)):
        record = {"kind": "epoch", "epoch": epoch, "best_epoch": best, "validation": {"gospa_m": 1.0 / epoch}}
        directory.append_log({**record, "seconds": 61.0, "applied_updates": 6 * epoch, "skipped_steps": 0})
    text = (release(config, directory, Terminal(quiet=True)) / "card.md").read_text()
    assert "12 applied, of 4 scenes (48 scenes)" in text
    assert "| epochs | 2; the parameters are the moving average after epoch 1," in text
    assert "`gospa_m` (1) |" in text


def test_a_card_without_an_evaluation_states_it(tmp_path: Path) -> None:
    assert "Not evaluated." in (tiny_release(tmp_path)[0] / "card.md").read_text()


def test_evaluating_released_weights_trains_nothing(
    trained: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained.path / "release", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("stages: [evaluate, report]\n")
    command = ["--config", "mine.yaml", "--quiet", "weights=elsewhere", EVALUATED[0], "evaluate.methods=[learned_mvdr]"]
    assert cli.main([*command, "evaluate.batch_size=6", "evaluate.bootstrap_draws=50"]) == 0
    again = RunDirectory("runs/mine")
    assert "learned_mvdr" in again.read_json("metrics.json")["sources"]["held_out"]["methods"]
    assert not list(again.checkpoints.iterdir())
    assert again.report_path.exists()


@pytest.mark.slow
def test_from_training_to_release_to_the_same_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stages = ["stages=[train, evaluate, release]", "run.directory=mine"]
    assert cli.main(["--config", "base.yaml", "--quiet", *SHRUNK, *EVALUATED, *stages]) == 0
    Path("again.yaml").write_text("stages: [evaluate]\nweights: mine/release\n")
    batches = ["evaluate.batch_size=4", "evaluate.bootstrap_draws=50"]
    assert cli.main(["--config", "again.yaml", "--quiet", *EVALUATED, *batches]) == 0
    ours, theirs = (RunDirectory(name).read_json("metrics.json")["sources"] for name in ("runs/again", "mine"))
    assert ours["held_out"]["methods"] == theirs["held_out"]["methods"]
    assert "12 applied, of 4 scenes (48 scenes)" in Path("mine/release/card.md").read_text()


def test_a_run_directory_serves_without_a_release(
    trained: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained.path, tmp_path / "run", ignore=shutil.ignore_patterns("release", ".lock"))
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("stages: [evaluate]\nweights: run\n")
    released, _ = read_weights(trained.path / "release" / "weights.safetensors")
    chex.assert_trees_all_equal(load_params(load_config("mine.yaml"), None), released)


def test_settings_come_with_the_weights_and_files_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, config = tiny_release(tmp_path, covariance__blend=0.25)
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(f"stages: [evaluate]\nweights: {folder}\nestimator: {{threshold_db: 7.0}}\n")
    loaded = load_config("mine.yaml", ["covariance.loading=0.5"])
    assert (loaded.model, loaded.physics, loaded.precision) == (config.model, config.physics, config.precision)
    assert (loaded.covariance.blend, loaded.covariance.loading) == (0.25, 0.5)
    assert loaded.estimator == config.estimator.model_copy(update={"threshold_db": 7.0})
    assert loaded.train.batch_size != config.train.batch_size, "how it was trained is no business of this run"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"physics.array.wavelength_m": 0.1}, "physics.array.wavelength_m: 0.3 there, 0.1 here"),
        ({"physics.array.wavefront": "paraxial"}, "physics.array.wavefront: spherical there, paraxial here"),
        ({"physics.array.num_vertical": 8}, "physics.array.num_vertical: 6 there, 8 here"),
        ({"model.width": 32}, "model.width: 16 there, 32 here"),
    ],
)
def test_another_array_or_network_is_refused(tmp_path: Path, changes: dict, words: str) -> None:
    folder, config = tiny_release(tmp_path)
    config = apply_overrides(config, {"stages": ["evaluate"], "weights": str(folder), **changes})
    with pytest.raises(WeightsError, match=words.replace(".", r"\.")):
        load_params(config, None)


def test_leaves_of_another_shape_are_reported(tmp_path: Path) -> None:
    folder, config = tiny_release(tmp_path)
    config = apply_overrides(config, {"stages": ["evaluate"], "weights": str(folder)})
    params, _ = read_weights(folder / "weights.safetensors")
    chex.assert_trees_all_equal(load_params(config, None), params)
    without = {group: leaves for group, leaves in params.items() if group != "posterior"}
    write_weights(folder / "weights.safetensors", without)
    chex.assert_trees_all_equal(load_params(config, None), without)
    del params["encoder"]["norm"], params["posterior"]["mean"]
    params["head"]["rows"]["bias"] = np.zeros(5, np.float32)
    write_weights(folder / "weights.safetensors", params)
    with pytest.raises(WeightsError, match=r"head\.rows\.bias: \[5\] in the file, \[24\] expected") as caught:
        load_params(config, None)
    assert "encoder.norm.bias: absent in the file" in str(caught.value)
    assert "posterior.mean: absent in the file" in str(caught.value)


def test_bfloat16_halves_the_file(tmp_path: Path) -> None:
    full, config = tiny_release(tmp_path / "full")
    half, _ = tiny_release(tmp_path / "half", release__dtype="bfloat16")
    sizes = [(folder / "weights.safetensors").stat().st_size for folder in (full, half)]
    assert sizes[1] < 0.7 * sizes[0]
    ours, theirs = (
        load_params(apply_overrides(config, {"stages": ["evaluate"], "weights": str(folder)}), None)
        for folder in (full, half)
    )
    chex.assert_trees_all_equal_dtypes(ours, theirs)
    chex.assert_trees_all_close(ours, theirs, rtol=2**-8)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(theirs))


def test_unknown_weights_are_a_problem_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no trained network 'nowhere'") as caught:
        load_config("base.yaml", ["weights=nowhere", "stages=[evaluate]"])
    assert "weights=nowhere" in str(caught.value)
    with pytest.raises(ConfigError, match=r"weights=.*\n.*this run trains its network \(stages train\)"):
        load_config("base.yaml", [f"weights={tiny_release(tmp_path)[0]}"])
    assert find_weights("nowhere") is None


def test_a_release_before_training_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["--config", "base.yaml", "--quiet", *SHRUNK, "stages=[release]", f"run.directory={tmp_path / 'run'}"]
    assert cli.main(command) == 1
    assert "run the stage `train` first" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="weights is null"):
        load_params(tiny_config(), None)


def test_a_card_names_the_impairments_of_the_training() -> None:
    drawn = {"physics__impairments__phase_error_deg": [0.0, 20.0], "physics__impairments__dead_elements": 0.1}
    assert any("(phase_error_deg 0 … 20, dead_elements 0.1)" in limit for limit in card._limits(tiny_config(**drawn)))
    assert any("Trained on ideal hardware" in limit for limit in card._limits(tiny_config()))
