"""Network from images of the field to the factor of the covariance: an encoder and a head."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from risjax.config import ArrayConfig, ModelConfig
from risjax.model.blocks import Block
from risjax.model.features import Features, num_channels
from risjax.model.patches import from_patches, num_patches, to_patches
from risjax.model.products import linear, plus
from risjax.types import PackedComplex, Prediction

CONTEXT_SCALARS = 2


class BackprojectionEncoder(nnx.Module):
    """Transformer over patches of the elements' features; the context of the scene is added to every token."""

    def __init__(self, array: ArrayConfig, config: ModelConfig, *, rngs: nnx.Rngs):
        self.array, self.patch = array, config.patch
        self.embed = linear(num_channels(config) * config.patch**2, config.width, rngs=rngs)
        self.context = linear(CONTEXT_SCALARS, config.width, rngs=rngs)
        place = nnx.initializers.normal(0.02)(rngs.params(), (num_patches(array, config.patch), config.width))
        self.place = nnx.Param(place)
        self.blocks = nnx.List(
            [Block(config.width, config.heads, config.mlp_ratio, rngs=rngs) for _ in range(config.layers)]
        )
        self.norm = nnx.LayerNorm(config.width, rngs=rngs)

    def __call__(self, features: Features) -> Float[Array, "batch T W"]:
        tokens = self.embed(to_patches(features.elements, self.array, self.patch))
        place, context = self.place[...], self.context(features.context)
        tokens = plus(tokens, place.reshape(1, *place.shape))
        tokens = plus(tokens, context.reshape(context.shape[0], 1, context.shape[1]))
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class CovarianceHead(nnx.Module):
    """Linear layer from each token to the rows of F of its elements.

    R = F F^H does not depend on the order of the sources, so the loss needs no permutation.
    """

    def __init__(self, array: ArrayConfig, config: ModelConfig, *, rngs: nnx.Rngs):
        self.array, self.patch = array, config.patch
        self.rows = linear(config.width, 2 * config.rank * config.patch**2, rngs=rngs)

    def __call__(self, tokens: Float[Array, "batch T W"]) -> Prediction:
        real, imag = jnp.split(from_patches(self.rows(tokens), self.array, self.patch), 2, axis=-1)
        return Prediction(factor=PackedComplex(real, imag))


class CovarianceNetwork(nnx.Module):
    """Encoder and head; the log reports their gradient norms separately."""

    def __init__(self, array: ArrayConfig, config: ModelConfig, *, rngs: nnx.Rngs):
        self.encoder = BackprojectionEncoder(array, config, rngs=rngs)
        self.head = CovarianceHead(array, config, rngs=rngs)

    def __call__(self, features: Features) -> Prediction:
        return self.head(self.encoder(features))
