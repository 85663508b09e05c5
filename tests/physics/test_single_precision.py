"""With JAX_ENABLE_X64 on, what is drawn in float32 stays there: a constant of NumPy's would widen half of a scene."""

import jax
import jax.numpy as jnp
import pytest

from risjax.config import Config, PhysicsConfig
from risjax.config.io import apply_overrides
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.model import build
from risjax.physics.array import amplitude_norm, steering
from risjax.physics.measurement import fit_field, noise_variance
from risjax.pipeline import Pipeline

IMPAIRED = {
    "physics.impairments.position_jitter": 0.1,
    "physics.impairments.wavelength_error": 0.1,
    "physics.impairments.phase_error_deg": 5.0,
    "physics.impairments.amplitude_error_db": 1.0,
    "physics.impairments.dead_elements": 0.1,
    "physics.impairments.coupling_min_amplitude": 0.8,
    "physics.impairments.channel_error_db": -20.0,
    "physics.impairments.clutter_db": -20.0,
    "physics.impairments.known": ["position_jitter", "wavelength_error"],
    "physics.channel.distance_m": [2.0, 5.0],
    "physics.scene.symbols": "per_snapshot",
}
CONFIG = Config(stages=("train",))
NARROW = {"float32", "complex64", "bool", "int32"}


def dtypes(tree: object) -> set[str]:
    return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


@pytest.mark.parametrize("overrides", [{}, IMPAIRED], ids=["default", "impaired"])
def test_scenes_and_the_noise_in_them(overrides: dict) -> None:
    physics = apply_overrides(Config(stages=("simulate",)), overrides).physics
    with jax.enable_x64(True):
        scenes = jax.eval_shape(lambda: scene_batch(physics, 0, Purpose.TRAIN_SCENES, 0, 2))
        assert dtypes(scenes) <= NARROW
        assert (
            jax.eval_shape(jax.vmap(lambda o: noise_variance(o, fit_field(o))), scenes.observation).dtype == jnp.float32
        )


@pytest.mark.parametrize("wavefront", ["spherical", "fresnel", "paraxial"])
def test_steering_vectors_have_the_dtype_of_the_position(wavefront: str) -> None:
    array = PhysicsConfig().array.model_copy(
        update={"wavefront": wavefront, "amplitude": "spherical", "pattern_exponent": 0.5}
    )
    with jax.enable_x64(True):
        for dtype in (jnp.float32, jnp.float64):
            position = jax.ShapeDtypeStruct((2, 3), dtype)
            vectors, norm = jax.eval_shape(lambda p: (steering(array, p), amplitude_norm(array, p)), position)
            assert vectors.dtype == jnp.result_type(dtype, jnp.complex64)
            assert norm.dtype == dtype


def test_the_whole_pipeline_is_traced() -> None:
    with jax.enable_x64(True):
        network = build(CONFIG.physics.array, CONFIG.model, CONFIG.precision)
        params = jax.eval_shape(network.init, jax.random.key(0))
        scenes = jax.eval_shape(lambda: scene_batch(CONFIG.physics, 0, Purpose.TRAIN_SCENES, 0, 2))
        pipeline = Pipeline(CONFIG.physics, CONFIG.precision, CONFIG.model, CONFIG.estimator)
        found = jax.eval_shape(lambda p, o: pipeline.sources(p, o, CONFIG.covariance), params, scenes.observation)
    assert dtypes(found) <= NARROW
