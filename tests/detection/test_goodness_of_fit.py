"""Goodness of fit: calibrated p-values, flags of wrong conventions, rank-deficient measurements."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from risjax.config import PhysicsConfig
from risjax.config.io import load_config
from risjax.data.stream import scene_batch
from risjax.detection.goodness_of_fit import MISFIT_LEVEL, diagnose, p_values
from risjax.estimators import polish
from risjax.keys import Purpose
from risjax.model import make_inputs_and_fit
from risjax.physics.array import steering
from risjax.physics.images import MeasuredField, regularised_images
from risjax.physics.scaling import normalise_scene
from risjax.types import Diagnostics, Estimates, Observation, Scene

SCENES = 256


def _truth_as_estimates(scene: Scene) -> Estimates:
    sources = scene.truth.sources
    slots = sources.active.shape
    return Estimates(
        sources.position, sources.amplitude, sources.active, jnp.ones((*slots, 3)), jnp.ones(slots), jnp.ones(slots)
    )


def _measured(observation: Observation) -> MeasuredField:
    return regularised_images(normalise_scene(observation)[0], (1.0,)).measured


@pytest.fixture(scope="module")
def physics() -> PhysicsConfig:
    return load_config("original.yaml", ["physics.scene.snr_db=[0, 20]"]).physics


@pytest.fixture(scope="module")
def scenes(physics: PhysicsConfig) -> Scene:
    return jax.jit(lambda: scene_batch(physics, 3, Purpose.TEST_SCENES, 0, SCENES))()


@pytest.fixture(scope="module")
def fitted(physics: PhysicsConfig):
    """Compiled: observations and a start to polished sources and their diagnostics."""

    def run(observation: Observation, start: Estimates) -> tuple[Estimates, Diagnostics]:
        found = polish(observation, start, physics)
        return found, diagnose(observation, found, _measured(observation), physics)

    return jax.jit(jax.vmap(run))


def _uniform(p: np.ndarray) -> float:
    return float(stats.kstest(p, "uniform").pvalue)


def test_p_values_of_a_fit_started_at_the_truth_are_uniform(physics: PhysicsConfig, scenes: Scene, fitted):
    found, diagnostics = fitted(scenes.observation, _truth_as_estimates(scenes))
    _, p_fit = p_values(diagnostics, np.asarray(found.active.sum(-1)), 144, 256)
    assert _uniform(p_fit) > 1e-3
    assert np.mean(diagnostics.misfit) <= 0.01
    assert not np.any(diagnostics.no_signal)
    assert not np.any(diagnostics.rank_deficient)


def test_p_values_of_the_field_are_uniform_for_noise(physics: PhysicsConfig, scenes: Scene, fitted):
    noise = jax.random.normal(jax.random.key(1), scenes.observation.snapshots.shape, scenes.observation.snapshots.dtype)
    empty = jax.tree.map(jnp.zeros_like, _truth_as_estimates(scenes))
    observation = scenes.observation._replace(snapshots=noise)
    found, diagnostics = fitted(observation, empty)
    p_field, p_fit = p_values(diagnostics, np.asarray(found.active.sum(-1)), 144, 256)
    np.testing.assert_allclose(p_field, p_fit, rtol=1e-3)  # without sources both compare the field with noise
    assert _uniform(p_field) > 1e-3
    assert np.mean(diagnostics.no_signal) > 0.98


def test_explained_is_the_share_of_the_energy(physics: PhysicsConfig, scenes: Scene, fitted):
    found, diagnostics = fitted(scenes.observation, _truth_as_estimates(scenes))
    signal = 10 ** (np.asarray(scenes.truth.snr_db) / 10)
    np.testing.assert_allclose(diagnostics.explained, signal / (1 + signal), atol=0.15)
    assert np.all(diagnostics.explained <= 1)
    none = found._replace(active=jnp.zeros_like(found.active))
    bare = jax.jit(jax.vmap(lambda y, e: diagnose(y, e, _measured(y), physics).explained))(scenes.observation, none)
    np.testing.assert_allclose(bare, 0, atol=1e-5)


def _without(scene: Scene, weakest: bool) -> tuple[Estimates, np.ndarray]:
    """The truth without its weakest or strongest source, and that source's share of the field's energy."""
    truth = _truth_as_estimates(scene)
    power = jnp.where(truth.active, jnp.abs(truth.amplitude) ** 2, jnp.inf if weakest else -jnp.inf)
    dropped = jnp.argmin(power, axis=1) if weakest else jnp.argmax(power, axis=1)
    active = truth.active & (jnp.arange(truth.active.shape[1])[None] != dropped[:, None])
    total = jnp.sum(jnp.where(truth.active, jnp.abs(truth.amplitude) ** 2, 0), axis=1)
    return truth._replace(active=active), np.asarray(jnp.take_along_axis(power, dropped[:, None], 1)[:, 0] / total)


def test_a_missed_weak_source_is_no_misfit_and_a_missed_strong_source_is(physics: PhysicsConfig, scenes: Scene):
    check = jax.jit(jax.vmap(lambda y, e: diagnose(y, e, _measured(y), physics)))
    loud = (np.asarray(scenes.truth.snr_db) >= 10) & (np.asarray(scenes.truth.num_sources) > 1)
    estimates, share = _without(scenes, weakest=True)
    found = check(scenes.observation, estimates)
    _, p_fit = p_values(found, np.asarray(estimates.active.sum(-1)), 144, 256)
    weak = loud & (share < 0.01)
    assert weak.sum() >= 20
    assert np.mean(p_fit[weak] < MISFIT_LEVEL) > 0.1  # significant, and yet little
    assert not np.any(found.misfit[weak])
    estimates, _ = _without(scenes, weakest=False)
    assert np.mean(check(scenes.observation, estimates).misfit[loud]) > 0.95


def test_statistics_do_not_depend_on_units(physics: PhysicsConfig, scenes: Scene, fitted):
    _, diagnostics = fitted(scenes.observation, _truth_as_estimates(scenes))
    faint = scenes.observation._replace(
        snapshots=scenes.observation.snapshots * 2.0**-70, channel=scenes.observation.channel * 2.0**-30
    )
    _, scaled = fitted(faint, _truth_as_estimates(scenes))
    for name in Diagnostics._fields:
        np.testing.assert_array_equal(getattr(scaled, name), getattr(diagnostics, name), err_msg=name)


def _rolled(array: jax.Array) -> jax.Array:
    return jnp.roll(array, 1, axis=0)


ORDER = np.random.default_rng(0).permutation(144)
WRONG = {
    "channel of another scene": (lambda o: o._replace(channel=_rolled(o.channel)), "no_signal"),
    "channel in another order": (lambda o: o._replace(channel=o.channel[:, :, ORDER]), "no_signal"),
    "snapshots conjugated": (lambda o: o._replace(snapshots=o.snapshots.conj()), "no_signal"),
    "snapshots transposed": (lambda o: o._replace(snapshots=o.snapshots.swapaxes(1, 2)), "no_signal"),
    "everything conjugated": (lambda o: jax.tree.map(jnp.conj, o), "misfit"),
    "elements in another order": (
        lambda o: o._replace(channel=o.channel[:, :, ORDER], codes=o.codes[:, :, ORDER]),
        "misfit",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_conventions_raise_their_flag(name: str, scenes: Scene, fitted):
    """At 10 dB and above, in at least 95 % of the scenes; the fit starts at the truth."""
    change, flag = WRONG[name]
    _, diagnostics = fitted(change(scenes.observation), _truth_as_estimates(scenes))
    loud = np.asarray(scenes.truth.snr_db) >= 10
    assert np.mean(np.asarray(getattr(diagnostics, flag))[loud]) >= 0.95


def test_rank_deficient_measurements_are_recognised(scenes: Scene, fitted):
    observation = scenes.observation
    same_code = jnp.broadcast_to(observation.codes[:, :1], observation.codes.shape)
    _, one_code = fitted(observation._replace(codes=same_code), _truth_as_estimates(scenes))
    assert np.all(one_code.rank_deficient)
    flat = observation.channel[:, :, :1] * jnp.exp(1j * jnp.angle(observation.channel[:, :1, :]))
    _, rank_one = fitted(observation._replace(channel=flat), _truth_as_estimates(scenes))
    assert np.all(rank_one.rank_deficient)
    assert np.all(np.asarray(rank_one.rank) <= 16)


def test_codes_that_hardly_differ_are_ill_conditioned(physics: PhysicsConfig, scenes: Scene, fitted):
    observation, truth = scenes.observation, _truth_as_estimates(scenes)
    _, healthy = fitted(observation, truth)
    assert not np.any(healthy.ill_conditioned)
    turns = 0.05 * jax.random.normal(jax.random.key(2), observation.codes.shape)
    alike = observation._replace(codes=observation.codes[:, :1] * jnp.exp(1j * turns))
    clean = jnp.einsum("smn,sln,sn->slm", alike.channel, alike.codes, _fields(physics, scenes), precision="highest")
    noise = jax.random.normal(jax.random.key(3), clean.shape, clean.dtype)
    level = jnp.sqrt(jnp.mean(jnp.abs(clean) ** 2, axis=(1, 2), keepdims=True) / 10)
    _, found = fitted(alike._replace(snapshots=clean + level * noise), truth)
    assert np.all(found.rank == 144)
    assert not np.any(found.rank_deficient)
    assert np.all(found.ill_conditioned)


def _fields(physics: PhysicsConfig, scenes: Scene) -> jax.Array:
    sources = scenes.truth.sources
    active = sources.active[..., None]
    vectors = jnp.where(active, steering(physics.array, jnp.where(active, sources.position, 1)), 0)
    return jnp.einsum("skn,sk->sn", vectors, sources.amplitude)


def test_changing_symbols_have_no_diagnostics(scenes: Scene):
    changing_config = load_config("per_snapshot.yaml")
    changing = changing_config.physics
    single = jax.tree.map(lambda leaf: leaf[0], scenes)
    _, measured = make_inputs_and_fit(single.observation, changing_config.model, changing)
    diagnostics = jax.jit(lambda s: diagnose(s.observation, _truth_as_estimates(s), measured, changing))(single)
    assert np.isnan(diagnostics.explained)
    assert np.isnan(diagnostics.fit_f)
    assert not diagnostics.misfit
    assert not diagnostics.no_signal
