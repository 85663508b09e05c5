"""Inputs of the network: images of the field in full precision, scaled, as real numbers.

Features are computed in float32 for every compute dtype and scaled per scene to unit RMS, because the received power
spans seven decades over scenes and the smallest normal number of float16 is 6e-5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from risjax.checks import check_observation
from risjax.config import ArrayConfig, ModelConfig, PhysicsConfig
from risjax.model.encoder import Inputs, parts_of
from risjax.physics.field_of_view import view_factor
from risjax.physics.images import MeasuredField, regularised_images
from risjax.physics.scaling import normalise_scene, restore_field
from risjax.physics.snapshot_images import snapshot_images
from risjax.types import Observation


class Features(NamedTuple):
    """Inputs of the network for one scene, in float32.

    Attributes:
        elements: features of each element, real parts before imaginary parts, [N, C]: the element's value
            in each image of unit RMS, or its row of each principal component of unit RMS.
        context: scalars of the scene, [2]: log10 of the estimated noise-to-signal ratio, and log10 of the first
            image's RMS over that of the last.
    """

    elements: Float[Array, "*batch N channels"]
    context: Float[Array, "*batch context"]


def num_image_channels(config: ModelConfig) -> int:
    """Number of features of an element in `image_inputs`."""
    return 2 * (1 + len(config.extra_regularisation))


def num_component_channels(config: ModelConfig) -> int:
    """Number of features of an element in `component_inputs`."""
    return config.rank * num_image_channels(config)


def make_inputs(observation: Observation, config: ModelConfig, physics: PhysicsConfig) -> Inputs:
    """Inputs of one scene, computed from its observation; batch by vmap.

    Args:
        observation: observation of one scene.
        config: configuration of the network.
        physics: array and field of view.
    """
    return make_inputs_and_fit(observation, config, physics)[0]


def make_inputs_and_fit(
    observation: Observation, config: ModelConfig, physics: PhysicsConfig
) -> tuple[Inputs, MeasuredField | None]:
    """Inputs of one scene, and the measured field of the scene in normalised units, from the same factors.

    Returns:
        The inputs of `make_inputs`, and None in place of the measured field where symbols change from snapshot to
        snapshot.
    """
    check_observation(observation)
    normalised, scale = normalise_scene(observation)
    inputs, measured = parts_of(config).make_inputs(normalised, config, physics)
    return inputs._replace(sample_factor=restore_field(inputs.sample_factor, scale)), measured


def image_inputs(observation: Observation, config: ModelConfig, physics: PhysicsConfig) -> tuple[Inputs, MeasuredField]:
    """`Features` of regularised images, as `risjax.model.encoder.MakeInputs`; they do not depend on the phase of y."""
    images = regularised_images(observation, (1.0, *config.extra_regularisation))
    power = jnp.mean(jnp.abs(images.field) ** 2, axis=-1)
    positive = jnp.where(power > 0, power, 1.0)  # the images of an empty scene stay zero, its logarithms finite
    unit = images.field * (positive**-0.5)[:, None] * middle_phase(images.field[0], physics.array)
    channels = jnp.concatenate([unit.real, unit.imag], axis=0).T
    context = _context(images.noise_to_signal, positive)
    features = Features(elements=channels, context=context)
    return Inputs(features=features, sample_factor=images.field[0][:, None]), images.measured


def component_inputs(
    observation: Observation, config: ModelConfig, physics: PhysicsConfig
) -> tuple[Inputs, MeasuredField | None]:
    """`Features` of principal components, as `risjax.model.encoder.MakeInputs`.

    They are those of the covariances of the snapshots' images, S = (1/L) sum_l x_l x_l^H.
    S depends neither on the phases nor on the order of the snapshots. Its strongest eigenvectors, times the root of
    their eigenvalues, are images of mixtures of sources, as is the image of a coherent field. The free phase of an
    eigenvector is chosen so that its mean over the middle of the surface is real and positive.
    """
    prior = jnp.asarray(view_factor(physics), observation.snapshots.dtype)
    images = snapshot_images(observation, prior, (1.0, *config.extra_regularisation))
    fields, count = images.fields, images.fields.shape[1]
    power = jnp.mean(fields.real**2 + fields.imag**2, axis=(1, 2))
    positive = jnp.where(power > 0, power, 1.0)
    unit = fields * (positive**-0.5)[:, None, None]
    components = jax.vmap(lambda sets: _principal(sets, config.rank, physics.array))(unit)
    energy = jnp.mean(components.real**2 + components.imag**2, axis=(1, 2))
    components = components * (jnp.where(energy > 0, energy, 1.0) ** -0.5)[:, None, None]
    columns = components.reshape(-1, components.shape[-1])
    elements = jnp.concatenate([columns.real, columns.imag], axis=0).T
    context = _context(images.noise_to_signal, positive)
    inputs = Inputs(Features(elements=elements, context=context), sample_factor=fields[0].T / count**0.5)
    is_coherent = physics.scene.symbols == "constant"
    return inputs, regularised_images(observation, (1.0,)).measured if is_coherent else None


def _principal(images: Complex[Array, "L N"], count: int, array: ArrayConfig) -> Complex[Array, "count N"]:
    """Strongest eigenvectors of sum_l x_l x_l^H times the root of their eigenvalues; zeros beyond the L-th."""
    gram = jnp.matmul(images.conj(), images.T, precision="highest")
    _, mixtures = jnp.linalg.eigh(gram)
    strongest = mixtures[:, ::-1][:, :count]
    components = jnp.matmul(strongest.T, images, precision="highest")
    phase = middle_phase(components, array)
    return jnp.pad(components * phase[:, None], ((0, count - strongest.shape[1]), (0, 0)))


def middle_phase(fields: Complex[Array, "*shape N"], array: ArrayConfig) -> Complex[Array, "*shape"]:
    """Return the factor of modulus 1 that makes a field's mean over the middle elements real and positive.

    1 where that mean is zero.
    """
    middle = jnp.asarray(middle_elements(array), fields.dtype)
    mean = jnp.matmul(fields, middle, precision="highest")
    modulus = jnp.sqrt(mean.real**2 + mean.imag**2)
    is_nonzero = modulus > 0
    return jnp.where(is_nonzero, mean.conj() / jnp.where(is_nonzero, modulus, 1.0), 1.0)


def middle_elements(array: ArrayConfig) -> Float[np.ndarray, " N"]:
    """1 for the 2 x 2 elements in the middle of the surface (3 on an odd side), 0 for the others, [N]."""
    across, up = (np.abs(np.arange(n) - (n - 1) / 2) <= 1 for n in (array.num_horizontal, array.num_vertical))
    return (up[:, None] & across[None, :]).astype(np.float64).ravel()


def _context(noise_to_signal: Float[Array, ""], power: Float[Array, " A"]) -> Float[Array, "2"]:
    return jnp.stack([jnp.log10(noise_to_signal), 0.5 * jnp.log10(power[0] / power[-1])])
