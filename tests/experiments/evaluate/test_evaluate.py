"""Evaluation end to end on a small surface, without a network, resumed, and on a file's scenes."""

import json
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import (
    ArrayConfig,
    ChannelConfig,
    CodebookConfig,
    Config,
    EstimatorConfig,
    EvaluateConfig,
    GridConfig,
    PhysicsConfig,
    SceneConfig,
    SourceConfig,
)
from risjax.config.estimator import GreedyConfig, SparseConfig
from risjax.config.evaluate import Method
from risjax.covariance import factor_of_sources
from risjax.data.stream import scene_batch
from risjax.experiments.evaluate import evaluate, measure, stored_estimates, stored_fits
from risjax.experiments.evaluate.methods import covariance_metrics, make_method
from risjax.experiments.evaluate.scenes import bound_std, load_scenes
from risjax.keys import Purpose
from risjax.pipeline import Pipeline
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train import train as train_network
from risjax.types import Sources

SCENES = 128
"""Enough for a gate: two in a hundred are of pairs that no covariance of so small a surface tells apart."""


def small_config(methods: tuple[Method, ...]) -> Config:
    grid = GridConfig(num_azimuth=17, num_elevation=9, num_range=5)
    return Config(
        stages=("evaluate",),
        physics=PhysicsConfig(
            array=ArrayConfig(num_horizontal=6, num_vertical=6),
            channel=ChannelConfig(num_antennas=8),
            codebook=CodebookConfig(kind="dft", num_snapshots=8),
            scene=SceneConfig(max_sources=2, num_sources=(1, 2), snr_db=(10.0, 20.0)),
        ),
        estimator=EstimatorConfig(grid=grid, greedy=GreedyConfig(grid=grid), sparse=SparseConfig(grid=grid)),
        evaluate=EvaluateConfig(
            sources=(SourceConfig(name="held_out", scenes=SCENES),), methods=methods, batch_size=8, bootstrap_draws=50
        ),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, RunDirectory, dict]:
    config = small_config(("mvdr", "oracle_mvdr"))
    directory = RunDirectory(tmp_path_factory.mktemp("run"))
    return config, directory, evaluate(config, directory, Terminal(quiet=True))


def test_what_is_written(finished: tuple[Config, RunDirectory, dict]) -> None:
    _, directory, result = finished
    written = json.loads(directory.metrics_path.read_text())
    assert written == json.loads(json.dumps(result))
    entry = written["sources"]["held_out"]
    assert entry["scenes"] == SCENES
    assert set(entry["timing"]["mvdr"]) == {"compile_s", "scene_s"}
    assert {"value", "low", "high", "count"} == set(entry["methods"]["mvdr"]["overall"]["nmse"])
    assert "nmse" not in entry["methods"]["oracle_mvdr"]["overall"]
    assert "f1_3d" in entry["pairs"]["mvdr_minus_oracle_mvdr"]["overall"]
    with np.load(directory.estimates_path) as arrays:
        assert arrays["held_out/oracle_mvdr/position"].shape == (SCENES, 2, 3)
        assert arrays["held_out/truth/active"].dtype == bool
        np.testing.assert_array_equal(arrays["held_out/oracle_mvdr/active"], arrays["held_out/truth/active"])


def test_the_oracle_gate(finished: tuple[Config, RunDirectory, dict]) -> None:
    overall = finished[2]["sources"]["held_out"]["methods"]["oracle_mvdr"]["overall"]
    assert overall["f1_3d"]["value"] >= 0.95


def test_completed_work_is_not_repeated(
    finished: tuple[Config, RunDirectory, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, directory, result = finished

    def refuse(*_: object) -> None:
        raise AssertionError("ran a method that was done")

    monkeypatch.setattr(measure, "_run_method", refuse)
    assert evaluate(config, directory, Terminal(quiet=True)) == result


def test_a_file_without_amplitudes_leaves_out_what_needs_them(tmp_path: Path) -> None:
    source = SourceConfig(name="file", path=str(tmp_path / "scenes.npz"), scenes=3)
    config = small_config(("mvdr", "oracle_mvdr"))
    config = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"sources": (source,)})})
    generator = np.random.default_rng(0)
    np.savez(
        tmp_path / "scenes.npz",
        y=generator.normal(size=(4, 8, 8, 2)).astype(np.float32),
        H_full=generator.normal(size=(4, 8, 36, 2)).astype(np.float32),
        codes=np.stack([np.cos(phase := generator.uniform(0, 6, (4, 8, 36))), np.sin(phase)], -1).astype(np.float32),
        ptr=np.tile(np.array([0.1, 0.2, 0.1, 0.0, 2.0, 3.0], np.float32), (4, 1)),
        K=np.array([1, 2, 1, 2]),
    )
    result = evaluate(config, RunDirectory(tmp_path / "run"), Terminal(quiet=True))
    entry = result["sources"]["file"]
    assert list(entry["methods"]) == ["mvdr"]
    assert entry["scenes"] == 3
    assert any("amplitudes" in note for note in entry["notes"])
    assert any("oracle_mvdr" in note for note in entry["notes"])
    assert not any(name.startswith("snr_db") for name in entry["methods"]["mvdr"])


def test_a_file_of_other_names_and_axes_is_evaluated(tmp_path: Path) -> None:
    """The same scenes as those of the file with the usual names."""
    config = small_config(("greedy_ml",))
    generator = np.random.default_rng(0)

    def gaussian(*shape: int) -> np.ndarray:
        return (generator.normal(size=shape) + 1j * generator.normal(size=shape)).astype(np.complex64)

    codes = np.exp(1j * np.angle(gaussian(4, 8, 36))).astype(np.complex64)
    usual = {"snapshots": gaussian(4, 8, 7), "channel": gaussian(4, 7, 36), "codes": codes}
    labels = {"position": np.tile(np.asarray([0.1, 0.1, 2.0], np.float32), (4, 1, 1)), "active": np.ones((4, 1), bool)}
    np.savez(tmp_path / "usual.npz", **usual, **labels)
    other = {"Y": usual["snapshots"].swapaxes(1, 2), "G": usual["channel"], "C": codes}
    np.savez(tmp_path / "other.npz", **other, **labels)
    plain = SourceConfig(name="file", path=str(tmp_path / "usual.npz"))
    renamed = SourceConfig(
        name="file",
        path=str(tmp_path / "other.npz"),
        names={"snapshots": "Y", "channel": "G", "codes": "C"},
        axes={"snapshots": "SML"},
    )
    found, expected = load_scenes(config, renamed), load_scenes(config, plain)
    jax.tree.map(np.testing.assert_array_equal, found.observation, expected.observation)


def test_fits_are_stored_and_their_covariance_is_evaluated(tmp_path: Path) -> None:
    config = small_config(("greedy_ml", "mvdr"))
    (source,) = config.evaluate.sources
    source = source.model_copy(update={"scenes": 8})
    config = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"sources": (source,)})})
    directory = RunDirectory(tmp_path)
    methods = evaluate(config, directory, Terminal(quiet=True))["sources"]["held_out"]["methods"]
    assert methods["greedy_ml"]["overall"]["nmse_of_fit"]["value"] < 0.1
    assert methods["greedy_ml"]["overall"]["subspace_overlap_of_fit"]["value"] > 0.8
    assert "nmse_of_fit" not in methods["mvdr"]["overall"]
    fits, estimates = stored_fits(config, source, directory), stored_estimates(config, source, directory)
    assert set(fits) == {"greedy_ml"}
    for field, values in fits["greedy_ml"]._asdict().items():
        np.testing.assert_array_equal(values, getattr(estimates["greedy_ml"], field))


def test_a_learned_method_without_a_network_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    config = small_config(("learned_mvdr",))
    with pytest.raises(FileNotFoundError, match="train"):
        evaluate(config, RunDirectory(tmp_path), Terminal(quiet=True))


@pytest.mark.slow
def test_every_method_on_the_same_scenes(tmp_path: Path) -> None:
    """Compiles eleven programs. The network is untrained: that its methods run and are scored is what is looked at."""
    methods = get_args(Method)
    config = small_config(methods)
    model = config.model.model_copy(update={"width": 8, "layers": 1, "heads": 1})
    train = config.train.model_copy(update={"steps_per_epoch": 1, "epochs": 1, "batch_size": 4, "validation_scenes": 4})
    config = config.model_copy(update={"model": model, "train": train})
    directory, terminal = RunDirectory(tmp_path), Terminal(quiet=True)
    train_network(config, directory, terminal)
    entry = evaluate(config, directory, terminal)["sources"]["held_out"]
    assert set(entry["methods"]) == set(methods)
    overall = {name: parts["overall"] for name, parts in entry["methods"].items()}
    for name in ("greedy_ml", "omp"):
        assert overall[name]["f1_angle"]["value"] > 0.8
        assert "coverage_2sigma_azimuth" in overall[name]
    assert overall["greedy_ml_known_k"]["k_accuracy"]["value"] == 1.0


def test_methods_that_cannot_use_the_covariance_or_the_surface_are_left_out(tmp_path: Path) -> None:
    config = small_config(("music", "esprit", "mvdr"))
    array = config.physics.array.model_copy(update={"spacing_m": 0.2})
    config = config.model_copy(
        update={
            "physics": config.physics.model_copy(update={"array": array}),
            "estimator": config.estimator.model_copy(update={"order": "sorte"}),
            "evaluate": config.evaluate.model_copy(update={"sources": (SourceConfig(name="few", scenes=8),)}),
        }
    )
    entry = evaluate(config, RunDirectory(tmp_path), Terminal(quiet=True))["sources"]["few"]
    assert set(entry["methods"]) == {"mvdr"}
    notes = "\n".join(entry["notes"])
    assert "music is left out: got estimator.order = sorte for a covariance of rank 1" in notes
    assert "esprit is left out: got spacing_m = 0.2" in notes


def test_methods_that_need_a_coherent_field_are_omitted_without_one() -> None:
    config = small_config(get_args(Method))
    scene = config.physics.scene.model_copy(update={"symbols": "per_snapshot"})
    config = config.model_copy(update={"physics": config.physics.model_copy(update={"scene": scene})})
    scenes = load_scenes(config, config.evaluate.sources[0])
    assert any("scene.symbols = per_snapshot" in note for note in scenes.notes)
    assert bound_std(scenes) is None
    refused: list[Method] = [method for method in config.evaluate.methods if measure._refusal(config, scenes, method)]
    assert set(config.evaluate.methods) - set(refused) == {"sparse", "oracle_mvdr"}
    for method in refused:
        with pytest.raises(ValueError, match="needs one coherent field"):
            make_method(config, config.physics, method, None)
    with pytest.raises(ValueError, match="backprojection needs one coherent field"):
        Pipeline(config.physics, config.precision, config.model, config.estimator)


def test_subspace_overlap_is_that_of_the_dominant_eigenvectors():
    rng = np.random.default_rng(0)
    counts = np.array([1, 2, 3])
    found = rng.normal(size=(3, 12, 4)) + 1j * rng.normal(size=(3, 12, 4))
    label = rng.normal(size=(3, 12, 3)) + 1j * rng.normal(size=(3, 12, 3))
    found[2, :, :3] = 3 * label[2]  # nearly the label's own subspace
    label = label * (np.arange(3)[None, None, :] < counts[:, None, None])
    metrics = jax.jit(covariance_metrics)(
        jnp.asarray(found, jnp.complex64), jnp.asarray(label, jnp.complex64), jnp.asarray(counts)
    )
    for index, count in enumerate(counts):
        dominant = np.linalg.eigh(found[index] @ found[index].conj().T)[1][:, -count:]
        truth = np.linalg.svd(label[index])[0][:, :count]
        overlap = np.linalg.norm(dominant.conj().T @ truth) ** 2 / count
        np.testing.assert_allclose(metrics["subspace_overlap"][index], overlap, rtol=1e-4)
    assert metrics["subspace_overlap"][2] > 0.9


def test_the_covariance_of_sources_is_evaluated():
    """The true sources are; without the second of two, one dimension is missing; without any, there is nothing."""
    physics = PhysicsConfig(scene=SceneConfig(num_sources=(2, 2)))
    scenes = jax.jit(lambda seed: scene_batch(physics, seed, Purpose.TRAIN_SCENES, 0, 6))(3)
    sources, label = scenes.truth.sources, scenes.truth.label_factor
    make = jax.vmap(lambda fit: factor_of_sources(fit, physics))
    for count, overlap in ((2, 1.0), (1, 0.5), (0, 0.0)):
        kept = sources.active & (jnp.cumsum(sources.active, axis=1) <= count)
        said = Sources(sources.position, jnp.where(kept, sources.amplitude, 0), kept)
        metrics = jax.jit(covariance_metrics)(make(said), label, scenes.truth.num_sources)
        np.testing.assert_allclose(metrics["subspace_overlap"], overlap, atol=1e-3)
        alone, whole = (np.einsum("snk,smk->snm", b, b.conj()) for b in map(np.asarray, (make(said), label)))
        square = [np.linalg.norm(matrix, axis=(1, 2)) ** 2 for matrix in (alone - whole, whole)]
        np.testing.assert_allclose(metrics["nmse"], square[0] / square[1], atol=1e-4)
