"""What the network is shown: physics done in full precision, scaled, real-valued.

Physics features are made in float32 whatever the compute dtype, and scaled per scene to unit RMS: received
power spans seven decades over scenes and float16 ends at 6e-5.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.checks import check_observation
from risjax.config import ModelConfig
from risjax.model.snapshots import SnapshotFeatures, snapshot_features
from risjax.physics.images import regularised_images
from risjax.types import Observation


class Features(NamedTuple):
    """The network's inputs for one scene, in float32.

    Attributes:
        elements: real and imaginary parts of each image at each element, unit RMS an image, [N, 2 * images].
        context: scalars of the whole scene, [2]: log10 of the noise-to-signal estimate, and of the conditioning
            left to the first image (its energy over that of the least regularised one).
    """

    elements: Float[Array, "*batch N channels"]
    context: Float[Array, "*batch context"]


class Inputs(NamedTuple):
    """Features beside the sample covariance's factor, both made from one set of images.

    Attributes:
        features: what the network sees.
        sample: x_hat, the factor of R_sample, [N, 1].
    """

    features: Features | SnapshotFeatures
    sample: Complex[Array, "*batch N one"]


def make_inputs(observation: Observation, config: ModelConfig) -> Inputs:
    """The inputs of one scene from what the receiver knows; batch by vmap."""
    check_observation(observation)
    if config.encoder == "snapshots":
        image = regularised_images(observation, (1.0,)).field[0]
        return Inputs(features=snapshot_features(observation), sample=image[:, None])
    images = regularised_images(observation, (1.0, *config.extra_regularisation))
    power = jnp.mean(jnp.abs(images.field) ** 2, axis=-1)
    positive = jnp.where(power > 0, power, 1.0)  # an empty scene's images stay zero, and its logarithms finite
    unit = images.field * (positive**-0.5)[:, None]
    channels = jnp.concatenate([unit.real, unit.imag], axis=0).T
    noise_to_signal = jnp.log10(images.noise_to_signal)
    shrink = 0.5 * jnp.log10(positive[0] / positive[-1])
    return Inputs(
        features=Features(elements=channels, context=jnp.stack([noise_to_signal, shrink])),
        sample=images.field[0][:, None],
    )
