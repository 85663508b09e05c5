"""Random words to laws, and batches of scenes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from risjax.config import PhysicsConfig, SceneConfig
from risjax.config.io import load_config
from risjax.physics import chunked_vmap as batches
from risjax.physics.distributions import _half_normal, complex_normal, draw_snr_db
from risjax.physics.measurement import solve_loaded

SIGNIFICANCE = 1e-3


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_complex_normal_is_circular_of_unit_variance(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        draws = np.asarray(complex_normal(jax.random.key(0), (40, 500), dtype))
    assert draws.dtype == (np.complex64 if dtype == jnp.float32 else np.complex128)
    real, imag = np.real(draws), np.imag(draws)
    for part in (real, imag):
        assert stats.kstest(part.ravel() * np.sqrt(2), "norm").pvalue > SIGNIFICANCE
        assert abs(stats.kurtosis(part.ravel())) < 5 * np.sqrt(24 / part.size)
    assert abs(np.mean(draws**2)) < 5 / np.sqrt(draws.size)
    neighbours = np.mean(real.ravel()[1:] * real.ravel()[:-1])
    assert abs(neighbours) < 5 * 0.5 / np.sqrt(draws.size)


def test_the_first_draws_do_not_depend_on_how_many_there_are():
    few, many = (complex_normal(jax.random.key(3), (count,), jnp.float32) for count in (10, 1000))
    np.testing.assert_array_equal(few, many[:10])


def test_every_word_gives_a_finite_draw_and_opposite_words_opposite_ones():
    words = jnp.asarray([0, 1, 2**31 - 1, 2**31, 2**32 - 1], jnp.uint32)
    draws = np.asarray(_half_normal(words))
    assert np.isfinite(draws).all()
    np.testing.assert_array_equal(draws[[0, 2]], -draws[[4, 3]])
    assert draws[-1] > 3.5


SNR = (-5.0, 20.0)
UNIT = (np.arange(2000) + 0.5) / 2000


def _snrs(law: dict, interval: tuple[float, float] = SNR) -> np.ndarray:
    scene = SceneConfig.model_validate({"snr_db": interval, "snr_law": law})
    return np.asarray(jax.vmap(lambda unit: draw_snr_db(unit, scene))(jnp.asarray(UNIT, jnp.float32)))


def test_snr_laws():
    np.testing.assert_allclose(_snrs({"kind": "uniform"}), -5 + 25 * UNIT, atol=1e-4)
    np.testing.assert_array_equal(_snrs({"kind": "uniform"}, (7.0, 7.0)), 7.0)
    law = stats.truncnorm((-5 - 10) / 8, (20 - 10) / 8, loc=10, scale=8)
    np.testing.assert_allclose(_snrs({"kind": "normal", "mean_db": 10.0, "std_db": 8.0}), law.ppf(UNIT), atol=0.01)
    values, counts = np.unique(_snrs({"kind": "choice", "values_db": [-5, 0.0, 20]}), return_counts=True)
    np.testing.assert_array_equal(values, [-5, 0, 20])
    np.testing.assert_allclose(counts, 2000 / 3, atol=1)
    weighted = _snrs({"kind": "choice", "values_db": [0.0, 10.0], "weights": [1.0, 3.0]})
    assert (weighted == 10).mean() == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ({"kind": "choice", "values_db": [25.0]}, "must lie within snr_db"),
        ({"kind": "choice", "values_db": [0.0], "weights": [1.0, 2.0]}, "weights has 2 entries for 1"),
        ({"kind": "normal", "mean_db": 60.0, "std_db": 2.0}, "has almost no mass within"),
        ({"kind": "cauchy"}, "uniform"),
    ],
)
def test_invalid_snr_laws_are_refused(law, message):
    with pytest.raises(ValidationError, match=message):
        SceneConfig.model_validate({"snr_law": law})


def test_snr_laws_come_from_yaml_and_the_command_line():
    law = "physics.scene.snr_law={kind: normal, mean_db: 10, std_db: 5}"
    scene = load_config("base", [law]).physics.scene
    assert scene.snr_law.model_dump() == {"kind": "normal", "mean_db": 10.0, "std_db": 5.0}
    again = load_config("base", [law, "physics.scene.snr_law={kind: choice, values_db: [0, 5]}"]).physics.scene
    assert again.snr_law.model_dump()["values_db"] == (0.0, 5.0)
    assert PhysicsConfig.model_validate_json(load_config("base", [law]).physics.model_dump_json()).scene == scene


def test_a_later_file_replaces_an_snr_law_as_a_whole(tmp_path):
    (tmp_path / "below.yaml").write_text(
        "stages: [train]\nphysics: {scene: {snr_law: {kind: choice, values_db: [0, 5]}}}\n"
    )
    (tmp_path / "above.yaml").write_text(
        "base: below.yaml\nphysics: {scene: {snr_law: {kind: normal, mean_db: 0, std_db: 3}}}\n"
    )
    law = load_config(str(tmp_path / "above.yaml")).physics.scene.snr_law
    assert law.model_dump() == {"kind": "normal", "mean_db": 0.0, "std_db": 3.0}


def test_over_scenes_equals_vmap_for_all_chunk_sizes(monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", 1)
    monkeypatch.setattr(batches.os, "cpu_count", lambda: 3)
    random = np.random.default_rng(0)
    roots = random.normal(size=(7, 5, 5)) + 1j * random.normal(size=(7, 5, 5))
    matrices = jnp.asarray(roots @ roots.conj().swapaxes(1, 2), jnp.complex64)
    vectors = jnp.asarray(random.normal(size=(7, 5)), jnp.complex64)

    def solve(matrix, vector):
        return solve_loaded(matrix, vector, jnp.asarray(0.1))

    def energy(vectors, run):
        return jnp.sum(jnp.abs(run(solve, matrices, vectors)) ** 2)

    def at_once(function, *scenes):
        return jax.vmap(function)(*scenes)

    for actual, expected in (
        (jax.jit(lambda: batches.over_scenes(solve, matrices, vectors))(), at_once(solve, matrices, vectors)),
        (jax.grad(energy)(vectors, batches.over_scenes), jax.grad(energy)(vectors, at_once)),
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_the_extreme_words_give_finite_draws_in_a_compiled_program():
    words = jnp.asarray([0, 511, 512, 2**31 - 1, 2**31, 2**32 - 512, 2**32 - 1], jnp.uint32)
    draws = jax.jit(_half_normal)(words)
    assert jnp.isfinite(draws).all()
    np.testing.assert_array_equal(draws, _half_normal(words))
