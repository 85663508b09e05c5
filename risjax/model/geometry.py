"""The geometry head: slots that look at the encoder's tokens and say whether a source is there, and where.

Each slot has a learned query. It attends to the tokens, then to the other slots, so that no two need name one source.
Nothing ties a slot to a source: `risjax.loss.geometry_set` matches them. What is emitted are logits, which half
precision resolves everywhere alike; where they are of use they are in full precision.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from risjax.config import ModelConfig
from risjax.model.blocks import Block
from risjax.model.products import linear, plus
from risjax.types import Slots

NUMBERS = 4
"""What a slot says: a logit of existence and three of place."""


class CrossAttention(nnx.Module):
    """Multi-head attention of queries, the same in every scene, to the tokens of a scene."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.query = linear(width, width, use_bias=False, rngs=rngs)
        self.key_value = linear(width, 2 * width, use_bias=False, rngs=rngs)
        self.output = linear(width, width, rngs=rngs)

    def __call__(self, queries: Float[Array, "J W"], tokens: Float[Array, "batch T W"]) -> Float[Array, "batch J W"]:
        (batch, num_tokens, width), slots = tokens.shape, queries.shape[0]
        query = self.query(queries).reshape(slots, self.heads, width // self.heads)
        projected = self.key_value(tokens).reshape(batch, num_tokens, 2, self.heads, width // self.heads)
        key, value = jnp.moveaxis(projected, 2, 0)
        wide = jnp.promote_types(tokens.dtype, jnp.float32)  # as in `risjax.model.blocks`
        scores = jnp.einsum("qhd,bkhd->bhqk", query, key, preferred_element_type=wide)
        weights = jax.nn.softmax(scores * (width // self.heads) ** -0.5).astype(tokens.dtype)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value)
        return self.output(mixed.reshape(batch, slots, width))


class GeometryHead(nnx.Module):
    """queries + attention to the tokens, a block among the slots, and a linear layer."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        shape = (config.geometry_slots, config.width)
        # Of the tokens' own size, which a norm has made: slots must differ before they have learned to.
        self.queries = nnx.Param(nnx.initializers.normal(1.0)(rngs.params(), shape))
        self.attention = CrossAttention(config.width, config.heads, rngs=rngs)
        self.block = Block(config.width, config.heads, config.mlp_ratio, rngs=rngs)
        self.norm = nnx.LayerNorm(config.width, rngs=rngs)
        self.output = linear(config.width, NUMBERS, rngs=rngs)

    def __call__(self, tokens: Float[Array, "batch T W"]) -> Slots:
        queries = self.queries[...]
        slots = plus(self.attention(queries, tokens), queries.reshape(1, *queries.shape))
        numbers = self.output(self.norm(self.block(slots)))
        return Slots(existence=numbers[..., 0], place=numbers[..., 1:])
