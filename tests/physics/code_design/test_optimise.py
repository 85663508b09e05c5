"""Gradient steps, few bits, coupled amplitudes, and the codebook of kind ``designed``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config.errors import ConfigError
from risjax.config.io import apply_overrides
from risjax.physics.code_design.known_channels import design_codes
from risjax.physics.code_design.optimise import at_step, criterion_of, design_for_channel, gram_of, reflection
from risjax.physics.code_design.prior import design_prior
from risjax.physics.code_design.quantise import exchange_phases, quantised
from risjax.physics.codebook import codes as common_codes
from risjax.physics.scene import draw_scene
from tests.physics.code_design.test_criteria import some_channel, some_codes
from tests.tiny import tiny_config


def designed(**overrides):
    """The tiny physics with designed codes."""
    steps = {"physics__codebook__kind": "designed", "physics__codebook__design__steps": 12}
    return tiny_config(**steps, **overrides).physics


def value_of(codes, physics, channel=None):
    """Criterion of some codes over positions that no design has used."""
    prior = at_step(design_prior(jax.random.key(99), physics, 1, 64), jnp.asarray(0))
    channel = some_channel() if channel is None else channel
    return float(criterion_of(physics.codebook.design)(gram_of(channel, jnp.asarray(codes)), prior))


@pytest.mark.parametrize("bits", [1, 3, None])
def test_designed_codes_beat_random_ones_and_have_the_bits(bits):
    physics = designed(physics__codebook__phase_bits=bits)
    codes = jax.jit(lambda channel: design_for_channel(channel, physics))(some_channel())
    np.testing.assert_allclose(np.abs(codes), 1, atol=1e-5)
    if bits is not None:
        steps = np.angle(codes) * 2**bits / (2 * np.pi)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    random = [value_of(some_codes(seed), physics) for seed in range(5)]
    assert value_of(codes, physics) > max(random)


def test_exchanging_phases_finds_the_codes_of_a_linear_criterion():
    target = jnp.asarray(np.random.default_rng(0).integers(0, 4, (3, 5)))
    reflections = jnp.exp(0.5j * jnp.pi * jnp.arange(4))
    start = jnp.zeros((3, 5), jnp.int32)
    found = exchange_phases(start, reflections, lambda codes: jnp.sum((codes * reflections[target].conj()).real))
    np.testing.assert_array_equal(found, target)


def test_rounding_takes_the_nearest_step():
    np.testing.assert_array_equal(quantised(jnp.asarray([[0.1, 3.0, -0.1, -1.6]]), 2), [[0, 2, 0, 3]])


def test_the_design_sees_the_amplitudes_of_coupled_elements():
    coupled = designed(physics__impairments__coupling_min_amplitude=0.2)
    amplitudes = np.abs(reflection(coupled)(jnp.linspace(-np.pi, np.pi, 64)))
    assert amplitudes.min() < 0.25
    assert amplitudes.max() > 0.95
    codes = jax.jit(lambda channel: design_for_channel(channel, coupled))(some_channel())
    np.testing.assert_allclose(np.abs(codes), 1, atol=1e-5)  # nominal codes; the coupling is applied by the surface
    mean = [np.mean(np.abs(reflection(coupled)(jnp.angle(c)))) for c in (codes, some_codes())]
    assert mean[0] > mean[1]


def test_designed_scenes_have_the_sources_and_channels_of_others():
    physics = designed()
    keys = jax.random.split(jax.random.key(0), 3)
    scenes = jax.jit(jax.vmap(lambda key: draw_scene(key, physics)))(keys)
    dft = apply_overrides(tiny_config(), {"physics.codebook.kind": "dft"}).physics
    others = jax.jit(jax.vmap(lambda key: draw_scene(key, dft)))(keys)
    np.testing.assert_allclose(scenes.observation.channel, others.observation.channel, rtol=1e-5)
    np.testing.assert_allclose(scenes.truth.sources.position, others.truth.sources.position, rtol=1e-5)
    np.testing.assert_allclose(scenes.truth.noise_variance, others.truth.noise_variance, rtol=1e-4)
    codes = np.asarray(scenes.observation.codes)
    assert not np.allclose(codes[0], codes[1])
    with pytest.raises(ValueError, match="designed makes codes for each scene"):
        common_codes(physics.codebook, physics.array)


def test_a_batch_of_channels_equals_single_ones():
    channels = np.stack([some_channel(0), some_channel(1)])
    options = {"physics": tiny_config().physics, "steps": 3, "num_snapshots": 4, "bits": 2, "seed": 5}
    batch = design_codes(channels, **options)
    assert batch.shape == (2, 4, 36)
    assert batch.dtype == np.complex64
    np.testing.assert_allclose(batch[1], design_codes(channels[1], **options), atol=1e-5)


@pytest.mark.parametrize(
    ("channel", "options", "message"),
    [
        (np.ones((36, 8)), {}, r"has shape \[36, 8\], expected \[M, N\]"),
        (np.full((8, 36), np.nan), {}, "not finite"),
        (np.ones((8, 36)), {"criterion": "bound"}, "expected one of mutual_information"),
    ],
)
def test_invalid_inputs_are_refused(channel, options, message):
    with pytest.raises(ValueError, match=message):
        design_codes(channel, tiny_config().physics, **options)


def test_invalid_settings_are_refused_by_their_names():
    with pytest.raises(ConfigError, match=r"physics\.codebook\.num_snapshots\s+got 0"):
        design_codes(np.ones((8, 36)), tiny_config().physics, num_snapshots=0)
