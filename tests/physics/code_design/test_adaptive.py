"""Further codes for a scene that the first snapshots have shown."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import risjax
from risjax.config.io import read_physics
from risjax.inference.predict import MeasurementError
from risjax.physics.code_design.adaptive import (
    RANGE_FLOOR_M,
    PosteriorScenes,
    adapt_codes_to_scene,
    posterior_scenes,
)
from risjax.physics.code_design.criteria import range_variances
from risjax.physics.code_design.optimise import at_step, gram_of
from risjax.physics.code_design.prior import design_prior
from risjax.types import Estimates
from tests.physics.code_design.test_criteria import some_channel, some_codes
from tests.tiny import tiny_config

TINY = tiny_config(physics__codebook__design__steps=12).physics
PHYSICS = TINY.model_copy(update={"codebook": TINY.codebook.model_copy(update={"num_snapshots": 3})})
POSITIONS = ((0.3, -0.2, 3.0), (-0.6, 0.1, 6.0), (0.0, 0.0, 0.0))


def estimates(positions=POSITIONS, active=(True, True, False), existence=1.0) -> Estimates:
    count = len(positions)
    return Estimates(
        jnp.asarray(positions),
        jnp.asarray([3.0, 1.0j, 0.0], jnp.complex64),
        jnp.asarray(active),
        jnp.where(jnp.asarray(active)[:, None], 0.01, jnp.inf) * jnp.ones((count, 3)),
        jnp.ones(count),
        jnp.full(count, existence),
    )


@functools.cache
def _compiled():
    def run(found, noise_variance):
        scenes = posterior_scenes(jax.random.key(0), found, some_channel(), noise_variance, PHYSICS)
        return scenes, adapt_codes_to_scene(some_channel(), some_codes()[:5], scenes, PHYSICS)

    return jax.jit(run)


def adapted(found, noise_variance=0.05) -> tuple[PosteriorScenes, np.ndarray]:
    return jax.device_get(_compiled()(found, noise_variance))


def range_bounds(scenes: PosteriorScenes, further) -> np.ndarray:
    """Mean bound of the range of each source of the draws."""
    prior = at_step(design_prior(jax.random.key(1), PHYSICS, 1, 4), jnp.asarray(0))._replace(snr=jnp.ones(1))
    gram = gram_of(some_channel(), jnp.concatenate([some_codes()[:5], jnp.asarray(further)]))
    flat = [np.transpose(columns, (1, 2, 0)).reshape(36, -1) for columns in scenes.columns]
    products = [jnp.asarray(columns.conj().T @ gram @ columns).reshape(4, 3, 4, 3) for columns in flat]
    each = zip(products, jnp.asarray(scenes.amplitude), jnp.asarray(scenes.active), strict=True)
    return np.mean([range_variances(product, a, m, prior)[0] for product, a, m in each], axis=0)


def test_further_codes_determine_the_uncertain_range_better_than_random_ones():
    """The first source's bound is below the floor with any codes, the second one's above it."""
    scenes, codes = adapted(estimates())
    random = np.mean([range_bounds(scenes, some_codes(seed)[:3]) for seed in range(1, 6)], axis=0)
    designed = range_bounds(scenes, codes)
    assert np.sqrt(random[0]) < RANGE_FLOOR_M < np.sqrt(random[1])
    assert designed[0] < 1.1 * random[0]
    assert designed[1] < 0.6 * random[1]


def test_draws_follow_the_estimates():
    scenes, _ = adapted(estimates(existence=0.3))
    assert 0.1 < scenes.active[:, 0].mean() < 0.55
    assert not scenes.active[:, 2].any()
    power = np.sum(np.abs(some_channel()) ** 2) / 8
    np.testing.assert_allclose(np.abs(scenes.amplitude[scenes.active[:, 0], 0]), 3 * np.sqrt(power / 0.05), rtol=1e-4)


@pytest.mark.parametrize(
    ("found", "noise_variance"),
    [
        (estimates(active=(False, False, False)), 0.05),
        (estimates(existence=0.0), 0.05),
        (estimates(existence=np.nan), 0.05),
        (estimates(positions=(POSITIONS[0], POSITIONS[0], POSITIONS[2])), 1e-9),
        (estimates(), 0.0),
    ],
    ids=["no source", "no likely source", "no probabilities", "coincident and strong", "no noise"],
)
def test_codes_are_phase_steps_for_every_posterior(found, noise_variance):
    _, codes = adapted(found, noise_variance)
    assert codes.shape == (3, 36)
    steps = np.angle(codes) * 8 / (2 * np.pi)
    np.testing.assert_allclose(np.abs(codes), 1, atol=1e-5)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)


def test_the_function_for_arrays_takes_scenes_and_batches():
    settings = read_physics(tiny_config().physics)
    scenes = risjax.simulate(settings, 2, key=0)
    observation = scenes.observation
    found = risjax.localise(*observation, physics=settings)
    options = {"physics": settings, "num_snapshots": 2, "steps": 2}
    batch = risjax.adapt_codes(*observation[:3], found, **options)
    assert batch.shape == (2, 2, 36)
    assert batch.dtype == np.complex64
    y, channel, codes = (array[0] for array in observation[:3])
    single = risjax.adapt_codes(y, channel, codes, jax.tree.map(lambda leaf: leaf[0], found), **options)
    np.testing.assert_allclose(single, batch[0], atol=1e-5)
    with pytest.raises(MeasurementError, match="found has 2 scenes and y 1"):
        risjax.adapt_codes(y[None], channel[None], codes[None], found, **options)
