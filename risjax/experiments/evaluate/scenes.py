"""The scenes that an evaluation runs on: fresh held-out ones, or a file's."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import Config, PhysicsConfig, SourceConfig
from risjax.data.files import read_scenes
from risjax.data.stream import draw_batch
from risjax.keys import Purpose
from risjax.physics.array import steering
from risjax.physics.crb import crb_in_float64, deterministic_crb
from risjax.types import Geometry, Observation, Sources

_MOST_RANGES = 10.0
"""Ranges of labels up to this multiple of the law's largest one are taken for metres."""


class EvaluationScenes(NamedTuple):
    """The scenes of one source, on the host. Blind methods are given ``observation`` only.

    Attributes:
        physics: the manifold that methods use.
        observation: what the receiver knows, leading axis S.
        sources: the truth.
        snr_db: [S], or None where the file does not contain it.
        label_factor: B with R = B B^H of trace N, [S, N, K], or None where it cannot be known.
        noise_variance: [S], or None.
        notes: sentences on what is missing.
    """

    physics: PhysicsConfig
    observation: Observation
    sources: Sources
    snr_db: np.ndarray | None
    label_factor: np.ndarray | None
    noise_variance: np.ndarray | None
    notes: tuple[str, ...]


def load_scenes(config: Config, source: SourceConfig, *, purpose: Purpose = Purpose.TEST_SCENES) -> EvaluationScenes:
    """Return the scenes of ``source``: of its file, or held out of the stream by their ``purpose``.

    Raises:
        FileNotFoundError: no such file.
        risjax.data.layouts.SceneFileError: a damaged file, or one without the truth to compare with.
        ValueError: a file whose surface has another number of elements than its physics.
    """
    physics = source.physics or config.physics
    scenes = _fresh(config, source, physics, purpose) if source.path is None else _from_file(config, source, physics)
    if physics.scene.symbols != "constant":
        note = (
            f"the bound is for one coherent field in all snapshots, got scene.symbols = {physics.scene.symbols}: none"
        )
        scenes = scenes._replace(notes=(*scenes.notes, note))
    if scenes.observation.geometry is not None:
        note = "the receiver knows each scene's geometry: estimators and bounds use it, the network does not"
        scenes = scenes._replace(notes=(*scenes.notes, note))
    return scenes


def _fresh(config: Config, source: SourceConfig, physics: PhysicsConfig, purpose: Purpose) -> EvaluationScenes:
    size = min(config.evaluate.batch_size, source.scenes)
    count = -(-source.scenes // size)
    batches = [jax.device_get(draw_batch(physics, config.run.seed, purpose, index, size)) for index in range(count)]
    scenes = jax.tree.map(lambda *parts: np.concatenate(parts)[: source.scenes], *batches)
    truth = scenes.truth
    return EvaluationScenes(
        physics, scenes.observation, truth.sources, truth.snr_db, truth.label_factor, truth.noise_variance, ()
    )


def _from_file(config: Config, source: SourceConfig, physics: PhysicsConfig) -> EvaluationScenes:
    path = source.path or ""
    file = read_scenes(
        path,
        limit=source.scenes,
        names={**source.names},
        axes={**source.axes},
        codes_measured=config.data.codes_measured or physics.impairments.are_codes_measured,
        max_range_m=_MOST_RANGES * physics.scene.range_m[1],
    )
    if file.sources is None:
        raise ValueError(f"{path} holds no true sources: nothing to compare with; `predict` needs none")
    elements = file.observation.codes.shape[-1]
    if elements != physics.array.num_elements:
        raise ValueError(
            f"{path} was made with {elements} elements, its physics has {physics.array.num_elements}; give the source "
            "its own `physics`"
        )
    notes = []
    factor = file.covariance_factor
    if factor is None and np.isfinite(file.sources.amplitude).all():
        factor = _label_factor(file.sources, physics, file.observation.geometry)
    if factor is None:
        notes.append(
            "the file holds neither amplitudes nor covariances: the true covariance is not known, so nmse, bounds and "
            "oracle methods are left out"
        )
    noise = None
    if file.clean is not None:
        noise = np.mean(np.abs(file.observation.snapshots - file.clean) ** 2, axis=(1, 2))
    return EvaluationScenes(physics, file.observation, file.sources, file.snr_db, factor, noise, tuple(notes))


def _label_factor(sources: Sources, physics: PhysicsConfig, geometry: Geometry | None) -> np.ndarray:
    ahead = np.where(sources.active[..., None], sources.position, np.array([0.0, 0.0, 1.0], np.float32))
    of_scene = jax.jit(jax.vmap(lambda position, surface: steering(physics.array, position, surface)))
    vectors = np.asarray(of_scene(jnp.asarray(ahead), geometry))
    factor = np.swapaxes(vectors * np.where(sources.active, np.abs(sources.amplitude), 0)[..., None], 1, 2)
    trace = np.sum(np.abs(factor) ** 2, axis=(1, 2), keepdims=True)
    return (factor * np.sqrt(factor.shape[1] / np.where(trace > 0, trace, 1))).astype(np.complex64)


def bound_std(scenes: EvaluationScenes) -> np.ndarray | None:
    """Cramér–Rao standard deviations [S, K, 3] of constant symbols, float64.

    None for symbols that change from snapshot to snapshot, or where amplitudes or noise are not known.
    """
    if scenes.physics.scene.symbols != "constant":
        return None
    if scenes.noise_variance is None or not np.isfinite(scenes.sources.amplitude).all():
        return None
    bound = crb_in_float64(
        deterministic_crb, scenes.physics.array, scenes.observation, scenes.sources, scenes.noise_variance
    )
    return np.asarray(bound.std)
