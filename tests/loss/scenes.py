"""Real scenes with everything that the terms of the loss compare predictions with, and one program for all of them."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import Config, CovarianceConfig, LossConfig, PrecisionConfig
from risjax.config.io import apply_overrides, load_config
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.loss import Labels, LossSettings, loss_settings, make_labels, total_loss
from risjax.types import PackedComplex, Prediction, Scene

PHYSICS = ("default", "original")
TERMS = tuple(LossConfig().terms)
BATCH, RANK = 8, 8


class Drawn(NamedTuple):
    """Scenes, and the factors of their sample covariances."""

    config: Config
    scene: Scene
    sample: jax.Array


@functools.cache
def drawn(physics: str) -> Drawn:
    """A batch of scenes of the full size, K from 1 to 5; its sample covariances are of matched filters."""
    config = load_config("base.yaml", [] if physics == "default" else [f"physics={physics}"])
    with jax.enable_x64(False):  # whoever asks first
        scene = jax.jit(lambda: scene_batch(config.physics, 0, Purpose.TEST_SCENES, 0, BATCH))()
        snapshots, channel, codes = map(np.asarray, scene.observation[:3])
        field = np.sum(codes.conj() * (snapshots @ channel.conj()), axis=1)
        return Drawn(config, scene, jnp.asarray(field[..., None]))


def labels_of(physics: str, *, double: bool = False) -> Labels:
    """The labels that all terms need; under x64 in double precision."""
    _, scene, sample = drawn(physics)
    wide = {np.dtype("complex64"): np.complex128, np.dtype("float32"): np.float64} if double else {}
    scene, sample = jax.tree.map(lambda leaf: jnp.asarray(leaf, wide.get(leaf.dtype, leaf.dtype)), (scene, sample))
    return make_labels(scene, sample)


def all_terms(**overrides: Any) -> LossSettings:
    """Every term with weight 1, every number of every term part of the program."""
    on = {f"loss.{name}.weight": 1.0 for name in TERMS}
    return loss_settings(apply_overrides(Config(stages=("train",)), on | overrides).loss)


def only(term: str) -> LossSettings:
    """The same settings with one weight 1 and the others 0, all of them part of the program."""
    settings = jax.tree.map(jnp.asarray, all_terms())
    return settings._replace(weights={name: jnp.asarray(float(name == term)) for name in TERMS})


def loss_of(parts: jax.Array, labels: Labels, settings: LossSettings) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Sum over scenes of the weighted terms, and the terms; ``parts`` are (Re F, Im F), [2, B, N, rank]."""
    prediction = Prediction(PackedComplex(parts[0], parts[1]))
    loss = total_loss(prediction, labels, settings, CovarianceConfig(), PrecisionConfig())
    return loss.total * parts.shape[1], loss.terms


slope = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
"""((sum, terms), gradient): compiled once for all terms and both physics."""


def random_parts(seed: int, *, double: bool = False) -> jax.Array:
    """A batch of healthy predictions."""
    size = drawn("default").config.physics.array.num_elements
    numbers = np.random.default_rng(seed).normal(size=(2, BATCH, size, RANK))
    return jnp.asarray(numbers, np.float64 if double else np.float32)
