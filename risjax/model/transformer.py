"""Transformers over patches of the surface, and the head that maps their tokens to the factor of the covariance."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from risjax.config import ArrayConfig, ModelConfig
from risjax.model.blocks import Block
from risjax.model.encoder import NetworkParts
from risjax.model.features import (
    Features,
    component_inputs,
    image_inputs,
    num_component_channels,
    num_image_channels,
)
from risjax.model.patches import from_patches, num_patches, to_patches
from risjax.model.products import linear, plus
from risjax.types import PackedComplex, Prediction

CONTEXT_SCALARS = 2


class PatchEncoder(nnx.Module):
    """Transformer over patches of the elements' features; the context of the scene is added to every token."""

    def __init__(self, channels: int, array: ArrayConfig, config: ModelConfig, *, rngs: nnx.Rngs):
        self.array, self.patch = array, config.patch
        self.embed = linear(channels * config.patch**2, config.width, rngs=rngs)
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


class BackprojectionEncoder(PatchEncoder):
    """Transformer over patches of regularised images."""

    def __init__(self, array: ArrayConfig, config: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(num_image_channels(config), array, config, rngs=rngs)


class MinimumNormEncoder(PatchEncoder):
    """Transformer over patches of principal components."""

    def __init__(self, array: ArrayConfig, config: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(num_component_channels(config), array, config, rngs=rngs)


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


BACKPROJECTION = NetworkParts(image_inputs, BackprojectionEncoder, CovarianceHead)
"""The encoder ``backprojection``."""

MINIMUM_NORM = NetworkParts(component_inputs, MinimumNormEncoder, CovarianceHead)
"""The encoder ``minimum_norm``."""
