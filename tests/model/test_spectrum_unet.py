"""The refiner's network: shapes, dtypes, where its map starts, and that it sees its surroundings."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from risjax.config import Config, ModelConfig, PrecisionConfig
from risjax.config.errors import ConfigError
from risjax.config.io import apply_overrides
from risjax.model.spectrum_unet import _flat_lecun_normal, build_refiner

MODEL = ModelConfig(refiner_width=4)


@pytest.mark.parametrize("compute", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("size", [(9, 5), (8, 6)])
def test_maps_have_the_size_of_spectra_full_precision_and_low_initial_probability(compute: str, size: tuple[int, int]):
    refiner = build_refiner(3, MODEL, PrecisionConfig(compute=compute))
    params = jax.jit(refiner.init)(jax.random.key(0))
    chex.assert_tree_all_finite(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    spectrum = jax.random.uniform(jax.random.key(1), (2, *size, 3)) * 5
    logits = jax.jit(refiner.apply)(params, spectrum)
    chex.assert_shape(logits, (2, *size, 3))
    chex.assert_type(logits, jnp.float32)
    assert np.abs(np.asarray(jax.nn.sigmoid(logits)) - 0.01).max() < 0.05
    inside = jax.make_jaxpr(refiner.apply)(params, spectrum)
    assert (
        f"{np.dtype(jnp.dtype(compute)).name[0]}{jnp.dtype(compute).itemsize * 8}" in str(inside)
        or compute == "bfloat16"
    )


def test_kernels_drawn_flat_are_those_drawn_on_four_axes_up_to_rounding():
    """The same random bits give both; only the order of roundings may differ between the two programs.

    A normal number is sqrt(2) erfinv(u), cut at two standard deviations. There its derivative by u is at most
    sqrt(pi / 2) exp(2) = 9.3. The uniform u is rounded twice, erfinv's nine terms 18 times: 2 * 9.3 + 2 * 18 < 64 eps.
    """
    key, shape = jax.random.key(3), (3, 3, 2, 4)
    expected = nnx.initializers.lecun_normal()(key, shape)
    cut = 0.8796  # standard deviation of a normal law that is cut at 2
    tolerance = 64 * float(jnp.finfo(expected.dtype).eps) * math.prod(shape[:-1]) ** -0.5 / cut
    np.testing.assert_allclose(_flat_lecun_normal(key, shape), expected, rtol=0, atol=tolerance)


def test_every_parameter_has_an_effect_and_the_receptive_field_exceeds_the_neighbours():
    refiner = build_refiner(3, MODEL, PrecisionConfig(compute="float32"))
    params = jax.jit(refiner.init)(jax.random.key(0))
    spectrum = jax.random.uniform(jax.random.key(1), (2, 16, 12, 3)) * 5
    slopes = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(refiner.apply(p, spectrum)))))(params)
    dead = [jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(slopes) if not jnp.any(leaf)]
    assert not dead
    seen = jax.jit(jax.grad(lambda image: refiner.apply(params, image)[0, 8, 6, 1]))(spectrum)
    assert not np.asarray(seen[1]).any(), "scenes do not see one another"
    reach = np.argwhere(np.asarray(seen[0]).any(-1))
    assert np.abs(reach - [8, 6]).max() >= 6


def test_no_refiner_without_channels():
    with pytest.raises(ValueError, match="refiner_width = 0"):
        build_refiner(3, ModelConfig(), PrecisionConfig())


def test_a_refiner_without_a_reader_is_refused():
    settings = {
        "physics.scene.symbols": "per_snapshot",
        "model.encoder": "minimum_norm",
        "train.posterior.scenes": 0,
        "model.refiner_width": 8,
    }
    with pytest.raises(ConfigError, match="refiner_width"):
        apply_overrides(Config(stages=("train",)), settings)
