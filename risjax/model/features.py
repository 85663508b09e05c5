"""What the network is shown: physics done in full precision, scaled, real-valued.

Physics features are made in float32 whatever the compute dtype, and scaled per scene to unit RMS: received
power spans seven decades over scenes and float16 ends at 6e-5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from risjax.checks import check_observation
from risjax.config import ArrayConfig, ModelConfig, PhysicsConfig
from risjax.model.snapshots import SnapshotFeatures, snapshot_features
from risjax.physics.field_of_view import view_factor
from risjax.physics.images import regularised_images
from risjax.physics.snapshot_images import snapshot_images
from risjax.types import Observation


class Features(NamedTuple):
    """The network's inputs for one scene, in float32.

    Attributes:
        elements: what is seen at each element, real parts, then imaginary parts, [N, `num_channels`]: its value in each
            image, unit RMS an image, or its row of each covariance of images, unit RMS a covariance.
        context: scalars of the whole scene, [2]: log10 of the noise-to-signal estimate, and of the conditioning
            left to the first image (its energy over that of the least regularised one).
    """

    elements: Float[Array, "*batch N channels"]
    context: Float[Array, "*batch context"]


class Inputs(NamedTuple):
    """Features beside the sample covariance's factor, both made from one set of images.

    Attributes:
        features: what the network sees.
        sample: the factor of R_sample: x_hat, [N, 1], or the images of the snapshots over sqrt(L), [N, L].
    """

    features: Features | SnapshotFeatures
    sample: Complex[Array, "*batch N snapshots"]


def num_channels(config: ModelConfig) -> int:
    """Real numbers that `Features` holds of an element."""
    images = 1 + len(config.extra_regularisation)
    return 2 * images * (config.rank if config.encoder == "minimum_norm" else 1)


def make_inputs(observation: Observation, config: ModelConfig, physics: PhysicsConfig) -> Inputs:
    """The inputs of one scene from what the receiver knows; batch by vmap.

    Args:
        observation: of one scene.
        config: the network that is to see it.
        physics: array and field of view, as every search of the package is told them.
    """
    check_observation(observation)
    if config.encoder == "snapshots":
        image = regularised_images(observation, (1.0,)).field[0]
        return Inputs(features=snapshot_features(observation), sample=image[:, None])
    if config.encoder == "minimum_norm":
        return _second_order(observation, config, physics)
    images = regularised_images(observation, (1.0, *config.extra_regularisation))
    power = jnp.mean(jnp.abs(images.field) ** 2, axis=-1)
    positive = jnp.where(power > 0, power, 1.0)  # an empty scene's images stay zero, and its logarithms finite
    unit = images.field * (positive**-0.5)[:, None]
    channels = jnp.concatenate([unit.real, unit.imag], axis=0).T
    context = _context(images.noise_to_signal, positive)
    return Inputs(features=Features(elements=channels, context=context), sample=images.field[0][:, None])


def _second_order(observation: Observation, config: ModelConfig, physics: PhysicsConfig) -> Inputs:
    """Principal components of the covariances of the snapshots' images, S = (1/L) sum_l x_l x_l^H.

    Neither a phase nor the order of snapshots changes S. Its strongest eigenvectors, each with the root of its
    eigenvalue, are images of mixtures of sources as the image of a coherent field is one; the phase that an eigenvector
    is free to have is set by the mean over the surface's middle.
    """
    prior = jnp.asarray(view_factor(physics), observation.snapshots.dtype)
    images = snapshot_images(observation, prior, (1.0, *config.extra_regularisation))
    fields, count = images.fields, images.fields.shape[1]
    power = jnp.mean(fields.real**2 + fields.imag**2, axis=(1, 2))
    positive = jnp.where(power > 0, power, 1.0)
    unit = fields * (positive**-0.5)[:, None, None]
    components = jax.vmap(lambda sets: _principal(sets, config.rank, middle_elements(physics.array)))(unit)
    energy = jnp.mean(components.real**2 + components.imag**2, axis=(1, 2))
    components = components * (jnp.where(energy > 0, energy, 1.0) ** -0.5)[:, None, None]
    columns = components.reshape(-1, components.shape[-1])
    elements = jnp.concatenate([columns.real, columns.imag], axis=0).T
    context = _context(images.noise_to_signal, positive)
    return Inputs(Features(elements=elements, context=context), sample=fields[0].T / count**0.5)


def _principal(images: Complex[Array, "L N"], count: int, middle: Float[np.ndarray, " N"]) -> Complex[Array, "count N"]:
    """The strongest eigenvectors of sum_l x_l x_l^H, each times the root of its eigenvalue; zeros beyond the L-th."""
    gram = jnp.matmul(images.conj(), images.T, precision="highest")
    _, mixtures = jnp.linalg.eigh(gram)
    strongest = mixtures[:, ::-1][:, :count]
    components = jnp.matmul(strongest.T, images, precision="highest")
    mean = jnp.matmul(components, jnp.asarray(middle, components.dtype), precision="highest")
    modulus = jnp.sqrt(mean.real**2 + mean.imag**2)
    seen = modulus > 0
    phase = jnp.where(seen, mean.conj() / jnp.where(seen, modulus, 1.0), 1.0)
    return jnp.pad(components * phase[:, None], ((0, count - strongest.shape[1]), (0, 0)))


def middle_elements(array: ArrayConfig) -> Float[np.ndarray, " N"]:
    """1 for the elements in the middle of the surface, two (or three) a side, 0 for the others."""
    across, up = (np.abs(np.arange(n) - (n - 1) / 2) <= 1 for n in (array.num_horizontal, array.num_vertical))
    return (up[:, None] & across[None, :]).astype(np.float64).ravel()


def _context(noise_to_signal: Float[Array, ""], power: Float[Array, " A"]) -> Float[Array, "2"]:
    return jnp.stack([jnp.log10(noise_to_signal), 0.5 * jnp.log10(power[0] / power[-1])])
