"""Geometry of a scene's surface: the part that the receiver knows, and its use in all of the physics."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import ArrayLike

from risjax.config import (
    ArrayConfig,
    ChannelConfig,
    CodebookConfig,
    Config,
    GridConfig,
    ImpairmentsConfig,
    PhysicsConfig,
    SceneConfig,
)
from risjax.config.errors import ConfigError
from risjax.config.io import apply_overrides
from risjax.physics.array import amplitude_norm, element_positions, steering
from risjax.physics.crb import deterministic_crb, stochastic_crb
from risjax.physics.misspecified_crb import misspecified_crb
from risjax.physics.scene import draw_scene
from risjax.spectral.grid import grid_for, make_grid, to_position
from risjax.types import Geometry, Scene, Sources

ERRORS: dict[str, Any] = {"position_jitter": 0.3, "wavelength_error": 0.1, "spacing_error": 0.1}
SUBSETS = [("position_jitter",), ("wavelength_error",), ("spacing_error",), tuple(ERRORS)]
SMALL = PhysicsConfig(
    array=ArrayConfig(num_horizontal=6, num_vertical=6),
    channel=ChannelConfig(num_antennas=8),
    codebook=CodebookConfig(kind="dft", num_snapshots=9),
    scene=SceneConfig(max_sources=3, num_sources=(2, 2), range_m=(0.5, 2.0), snr_db=(140.0, 140.0)),
)


def _physics(known: Any = (), array: ArrayConfig = SMALL.array, **errors: Any) -> PhysicsConfig:
    return SMALL.model_copy(update={"array": array, "impairments": ImpairmentsConfig(**errors, known=known)})


@functools.cache
def _scene(physics: PhysicsConfig) -> Scene:
    return jax.jit(lambda key: draw_scene(key, physics))(jax.random.key(3))


def _measured(scene: Scene) -> Geometry:
    assert scene.observation.geometry is not None, "the receiver knows nothing of the geometry"
    return scene.observation.geometry


def _vectors(array: ArrayConfig, geometry: Geometry | None, positions: ArrayLike) -> np.ndarray:
    """Spherical steering vectors [K, N] by Pythagoras in space, float64."""
    geometry = geometry or Geometry()
    plane = element_positions(array) if geometry.elements_m is None else np.asarray(geometry.elements_m, float)
    wavelength_m = array.wavelength_m if geometry.wavelength_m is None else float(geometry.wavelength_m)
    azimuth, elevation, range_m = np.asarray(positions, float).T
    unit = np.stack([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], 1)
    elements = np.pad(plane, ((0, 0), (0, 1)))
    paths = np.linalg.norm((range_m[:, None] * unit)[:, None] - elements[None], axis=-1)
    return np.exp(2j * np.pi / wavelength_m * (range_m[:, None] - paths)) / np.sqrt(len(plane))


def _clean(scene: Scene, vectors: np.ndarray) -> np.ndarray:
    field = np.asarray(scene.truth.sources.amplitude)[: len(vectors)] @ vectors
    return (np.asarray(scene.observation.codes) * field) @ np.asarray(scene.observation.channel).T


def _mismatch(scene: Scene, vectors: np.ndarray) -> float:
    """||y - Phi A s|| / ||y|| of the two sources; the noise lies at 1e-7 of y."""
    snapshots = np.asarray(scene.observation.snapshots)
    return float(np.linalg.norm(snapshots - _clean(scene, vectors)) / np.linalg.norm(snapshots))


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_clean_snapshots_are_those_of_the_surface_that_the_receiver_knows(names):
    """To 1e-5, by the receiver's own steering and by distances in space; the nominal surface misses by percents."""
    scene = _scene(_physics(names, **{name: ERRORS[name] for name in names}))
    position, geometry = scene.truth.sources.position[:2], _measured(scene)
    assert (geometry.elements_m is None) == (names == ("wavelength_error",))
    assert (geometry.wavelength_m is None) == ("wavelength_error" not in names)
    assert _mismatch(scene, np.asarray(steering(SMALL.array, position, geometry))) < 1e-5
    assert _mismatch(scene, _vectors(SMALL.array, geometry, position)) < 1e-5
    assert _mismatch(scene, _vectors(SMALL.array, None, position)) > 0.03


@pytest.mark.parametrize("known", SUBSETS[:3], ids="+".join)
def test_known_errors_enter_the_observation_and_change_nothing_else(known):
    """The scene does not depend on which errors are known; unknown errors are not in the observation."""
    informed, blind, all_known = (_scene(_physics(names, **ERRORS)) for names in (known, (), tuple(ERRORS)))
    jax.tree.map(
        np.testing.assert_array_equal,
        informed._replace(observation=informed.observation[:3]),
        blind._replace(observation=blind.observation[:3]),
    )
    assert blind.observation.geometry is None
    real, geometry = _measured(all_known), informed.observation.geometry or Geometry()
    assert (geometry.wavelength_m is None) == ("wavelength_error" not in known)
    if geometry.wavelength_m is not None:
        assert real.wavelength_m is not None
        np.testing.assert_array_equal(geometry.wavelength_m, real.wavelength_m)
    if known == ("wavelength_error",):
        assert geometry.elements_m is None
        return
    nominal, elements = element_positions(SMALL.array), np.asarray(geometry.elements_m)
    if "spacing_error" in known:
        np.testing.assert_allclose(elements / nominal, elements[0, 0] / nominal[0, 0], rtol=1e-5)
    else:
        assert np.abs(elements - nominal).max() <= ERRORS["position_jitter"] * SMALL.array.spacing_m + 1e-6
        assert np.abs(elements - np.asarray(real.elements_m)).max() > 1e-3


def test_a_known_error_that_is_off_adds_nothing_to_the_program():
    """The same program as of the default impairments, and no further leaves."""
    programs = [
        str(jax.make_jaxpr(lambda key, p=physics: draw_scene(key, p))(jax.random.key(0)))
        for physics in (SMALL, _physics(tuple(ERRORS)))
    ]
    assert programs[0] == programs[1]
    assert programs[0] != str(
        jax.make_jaxpr(lambda key: draw_scene(key, _physics(spacing_error=0.1)))(jax.random.key(0))
    )
    assert len(jax.tree.leaves(_scene(_physics(tuple(ERRORS))).observation)) == 3


@pytest.mark.parametrize("wavefront", ["spherical", "fresnel", "paraxial"])
def test_a_geometry_is_the_array_of_those_elements_and_that_wavelength(wavefront):
    """Every wavefront and amplitude: against the settings that say the same once for all scenes."""
    settings = {"num_horizontal": 3, "num_vertical": 2, "wavefront": wavefront, "amplitude": "spherical"}
    array = ArrayConfig(**settings, pattern_exponent=1.5)
    elements = np.random.default_rng(0).uniform(-0.4, 0.4, (6, 2))
    given = ArrayConfig(
        **settings, pattern_exponent=1.5, wavelength_m=0.2, elements_m=tuple(map(tuple, elements.tolist()))
    )
    geometry = Geometry(jnp.asarray(elements, jnp.float32), jnp.asarray(0.2, jnp.float32))
    points = jnp.asarray([[[0.3, -0.2, 0.7], [-0.9, 0.4, 3.0]]], jnp.float32)
    np.testing.assert_allclose(steering(array, points, geometry), steering(given, points), atol=1e-5)
    np.testing.assert_allclose(amplitude_norm(array, points, geometry), amplitude_norm(given, points), rtol=1e-5)
    assert np.abs(steering(array, points, geometry) - steering(array, points)).max() > 0.1


def test_a_geometry_of_other_elements_is_refused():
    with pytest.raises(ValueError, match=r"geometry.elements_m has shape \[2, 36, 2\], expected \[N, 2\] = \[36, 2\]"):
        steering(SMALL.array, jnp.ones(3), Geometry(jnp.zeros((2, 36, 2))))


def test_the_grid_of_a_measured_surface_is_right_to_its_end():
    """At full size, batched: 4 scenes x 3,960 points x 144 elements, where jaxlib 0.10.2 errs in another form."""
    physics, points = PhysicsConfig(), GridConfig(num_azimuth=33, num_elevation=15, num_range=8)
    nominal = make_grid(physics, points)
    generator = np.random.default_rng(0)
    elements = element_positions(physics.array) + generator.uniform(-0.04, 0.04, (4, 144, 2))
    geometry = Geometry(jnp.asarray(elements, jnp.float32), jnp.asarray([0.28, 0.29, 0.3, 0.31], jnp.float32))
    steering = jax.jit(jax.vmap(lambda g: grid_for(nominal, physics, g).steering))(geometry)
    positions = np.asarray(to_position(nominal.cosines.reshape(-1, 3)))
    for scene in (0, 3):
        expected = _vectors(physics.array, jax.tree.map(lambda leaf, at=scene: leaf[at], geometry), positions)
        np.testing.assert_allclose(steering[scene], expected, atol=2e-5)
    assert grid_for(nominal, physics, None) is nominal


def _nominal(dtype: jnp.dtype) -> Geometry:
    return Geometry(jnp.asarray(element_positions(SMALL.array), dtype), jnp.asarray(SMALL.array.wavelength_m, dtype))


def _planted() -> Sources:
    position = jnp.asarray([[-0.5, 0.2, 0.8], [0.4, -0.3, 1.5], [0.0, 0.0, 0.0]])
    return Sources(position, jnp.asarray([1.0, 0.7j, 0.0], jnp.complex64), jnp.asarray([True, True, False]))


@pytest.mark.parametrize("bound", [deterministic_crb, stochastic_crb])
def test_bounds_are_of_the_surface_that_the_receiver_knows(bound):
    """Equal to the bound of an array with those elements and that wavelength; not to the nominal one's."""
    scene = _scene(_physics(tuple(ERRORS), **ERRORS))
    observation, geometry, sources = scene.observation, _measured(scene), _planted()
    assert geometry.wavelength_m is not None
    given = SMALL.array.model_copy(
        update={
            "wavelength_m": float(geometry.wavelength_m),
            "elements_m": tuple(map(tuple, np.asarray(geometry.elements_m, float).tolist())),
        }
    )
    expected = jax.jit(lambda o: bound(given, o, sources, 1e-4).std[:2])(observation._replace(geometry=None))
    run = jax.jit(lambda o: bound(SMALL.array, o, sources, 1e-4).std[:2])
    known, without = run(observation), run(observation._replace(geometry=_nominal(jnp.float32)))
    np.testing.assert_allclose(known, expected, rtol=1e-3)
    assert np.abs(np.asarray(without) / np.asarray(expected) - 1).max() > 0.02


def test_the_misspecified_bound_of_a_known_surface_has_no_bias():
    with jax.enable_x64(True):
        to_double = {"f": np.float64, "c": np.complex128, "b": bool}
        observation, sources = jax.tree.map(
            lambda leaf: jnp.asarray(np.asarray(leaf), to_double[leaf.dtype.kind]),
            (_scene(_physics(tuple(ERRORS), **ERRORS)).observation, _planted()),
        )
        field = np.asarray(sources.amplitude)[:2] @ _vectors(SMALL.array, observation.geometry, sources.position[:2])
        mean = jnp.asarray((np.asarray(observation.codes) * field) @ np.asarray(observation.channel).T)
        variance = jnp.mean(jnp.abs(mean) ** 2) * 1e-6
        run = jax.jit(lambda o: misspecified_crb(SMALL.array, o, mean, sources, variance))
        known = jax.device_get(run(observation))
        blind = jax.device_get(run(observation._replace(geometry=_nominal(jnp.float64))))
    assert known.residual < 1e-12 < 1e-4 < blind.residual
    assert (np.abs(known.bias[:2]) < 1e-3 * known.std[:2]).all()
    assert (np.abs(blind.bias[:2]) > 3 * blind.std[:2]).any()


def test_a_known_geometry_and_the_stage_export_do_not_go_together():
    config = Config(stages=("export",))
    hidden = apply_overrides(config, {"physics.impairments.position_jitter": 0.1})
    assert not hidden.physics.impairments.is_geometry_known
    with pytest.raises(ConfigError, match="not supported by the stage export"):
        apply_overrides(hidden, {"physics.impairments.known": ["position_jitter"]})
