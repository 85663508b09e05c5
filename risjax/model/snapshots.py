"""Network of the original pipeline: a CNN and a transformer over raw snapshots, with codes and H c pooled separately.

======== =========================================================== =================
symbol   meaning                                                     shape
======== =========================================================== =================
y        snapshots, unit RMS a scene                                 [L, M]
H c      channel applied to each code, unit RMS                      [L, M]
c        phase codes                                                 [L, N]
======== =========================================================== =================

Two 3 x 3 convolutions act on the image y of snapshots by antennas. Its mean over the antennas gives a token for each
snapshot, and a transformer mixes the tokens. Codes and H c are embedded snapshot by snapshot and pooled separately, so
the network cannot relate a snapshot to its own code, and it receives H only as H c. For these reasons the original did
not learn. The network serves comparisons of speed and accuracy; use `risjax.model.transformer` for everything else.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Complex, Float

from risjax.config import ArrayConfig, ModelConfig, PhysicsConfig
from risjax.model.blocks import Block
from risjax.model.encoder import Inputs, NetworkParts
from risjax.model.features import middle_phase
from risjax.physics.images import MeasuredField, regularised_images
from risjax.types import Observation, PackedComplex, Prediction


class SnapshotFeatures(NamedTuple):
    """Inputs of the network for one scene, in float32; an axis of length 2 holds (real, imaginary).

    Attributes:
        received: y, unit RMS, [L, M, 2].
        passed: H c, unit RMS, [L, M, 2].
        codes: real parts before imaginary parts, [L, 2 N].
        context: log10 of the estimated noise-to-signal ratio, [1].
    """

    received: Float[Array, "*batch L M pair"]
    passed: Float[Array, "*batch L M pair"]
    codes: Float[Array, "*batch L pair_N"]
    context: Float[Array, "*batch context"]


def snapshot_features(observation: Observation, noise_to_signal: Float[Array, ""]) -> SnapshotFeatures:
    """Inputs of one scene; batch by vmap. The snapshots of an empty scene stay zero.

    The original network was given the RMS of y and of H c. These depend on the units of y and H, which the positions
    of the sources do not; the noise-to-signal ratio takes their place.

    Args:
        observation: of one scene.
        noise_to_signal: of `risjax.physics.images.FieldImages`.
    """
    passed = jnp.matmul(observation.codes, observation.channel.T, precision="highest")
    return SnapshotFeatures(
        received=_unit(observation.snapshots),
        passed=_unit(passed),
        codes=jnp.concatenate([observation.codes.real, observation.codes.imag], axis=-1),
        context=jnp.log10(noise_to_signal)[None],
    )


def snapshot_inputs(
    observation: Observation, config: ModelConfig, physics: PhysicsConfig
) -> tuple[Inputs, MeasuredField]:
    """`SnapshotFeatures` and the regularised image, as `risjax.model.encoder.MakeInputs`."""
    images = regularised_images(observation, (1.0,))
    turned = observation._replace(snapshots=observation.snapshots * middle_phase(images.field[0], physics.array))
    features = snapshot_features(turned, images.noise_to_signal)
    return Inputs(features, images.field[0][:, None]), images.measured


def _unit(array: Complex[Array, "L M"]) -> Float[Array, "L M 2"]:
    power = jnp.mean(array.real**2 + array.imag**2)
    rms = jnp.sqrt(jnp.where(power > 0, power, 1.0))
    return jnp.stack([array.real, array.imag], axis=-1) / rms


class SnapshotEncoder(nnx.Module):
    """One vector for each scene: mean token, mean embedded code, mean embedded H c."""

    def __init__(self, array: ArrayConfig, config: ModelConfig, *, rngs: nnx.Rngs):
        channels = summary_channels(config)
        self.first = nnx.Conv(2, channels, (3, 3), rngs=rngs)
        self.second = nnx.Conv(channels, channels, (3, 3), rngs=rngs)
        self.embed = nnx.Linear(channels, config.width, rngs=rngs)
        self.context = nnx.Linear(1, config.width, rngs=rngs)
        self.codes = nnx.Linear(2 * array.num_elements, channels, rngs=rngs)
        self.passed = nnx.Linear(2, channels, rngs=rngs)
        self.blocks = nnx.List(
            [Block(config.width, config.heads, config.mlp_ratio, rngs=rngs) for _ in range(config.layers)]
        )
        self.norm = nnx.LayerNorm(config.width, rngs=rngs)

    def __call__(self, features: SnapshotFeatures) -> Float[Array, "batch summary"]:
        image = jax.nn.gelu(self.second(jax.nn.gelu(self.first(features.received))))
        tokens = self.embed(image.mean(axis=2)) + self.context(features.context)[:, None]
        for block in self.blocks:
            tokens = block(tokens)
        codes = jax.nn.gelu(self.codes(features.codes)).mean(axis=1)
        passed = jax.nn.gelu(self.passed(features.passed)).mean(axis=(1, 2))
        return jnp.concatenate([self.norm(tokens).mean(axis=1), codes, passed], axis=-1)


class SnapshotHead(nnx.Module):
    """Linear layer from the scene's vector to all rows of F."""

    def __init__(self, array: ArrayConfig, config: ModelConfig, *, rngs: nnx.Rngs):
        self.shape = (array.num_elements, 2 * config.rank)
        self.rows = nnx.Linear(config.width + 2 * summary_channels(config), 2 * config.rank * self.shape[0], rngs=rngs)

    def __call__(self, summary: Float[Array, "batch summary"]) -> Prediction:
        rows = self.rows(summary).reshape(-1, *self.shape)
        real, imag = jnp.split(rows, 2, axis=-1)
        return Prediction(factor=PackedComplex(real, imag))


def summary_channels(config: ModelConfig) -> int:
    """Number of channels of the convolutions, of the pooled codes and of the pooled H c."""
    return max(config.width // 8, 1)


SNAPSHOTS = NetworkParts(snapshot_inputs, SnapshotEncoder, SnapshotHead)
"""The encoder ``snapshots``."""
