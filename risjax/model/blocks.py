"""Transformer block: pre-norm attention and MLP in the dtype of its inputs and parameters.

`risjax.model.build` casts parameters and inputs together, once, so no dtype appears here. The statistics of the
normalisation (inside flax) and the softmax of the attention run in float32.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from risjax.model.products import linear


class Attention(nnx.Module):
    """Multi-head self-attention over tokens."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.query_key_value = linear(width, 3 * width, use_bias=False, rngs=rngs)
        self.output = linear(width, width, rngs=rngs)

    def __call__(self, tokens: Float[Array, "batch T W"]) -> Float[Array, "batch T W"]:
        batch, num_tokens, width = tokens.shape
        projected = self.query_key_value(tokens).reshape(batch, num_tokens, 3, self.heads, width // self.heads)
        query, key, value = jnp.moveaxis(projected, 2, 0)
        # Not jax.nn.dot_product_attention: it needs a float16 product that CPUs do not support (jax 0.10.2).
        wide = jnp.promote_types(tokens.dtype, jnp.float32)
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=wide)
        weights = jax.nn.softmax(scores * (width // self.heads) ** -0.5).astype(tokens.dtype)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value)
        return self.output(mixed.reshape(tokens.shape))


class Block(nnx.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, *, rngs: nnx.Rngs):
        self.attention_norm = nnx.LayerNorm(width, rngs=rngs)
        self.attention = Attention(width, heads, rngs=rngs)
        self.mlp_norm = nnx.LayerNorm(width, rngs=rngs)
        self.mlp_in = linear(width, mlp_ratio * width, rngs=rngs)
        self.mlp_out = linear(mlp_ratio * width, width, rngs=rngs)

    def __call__(self, tokens: Float[Array, "batch T W"]) -> Float[Array, "batch T W"]:
        tokens = tokens + self.attention(self.attention_norm(tokens))
        return tokens + self.mlp_out(jax.nn.gelu(self.mlp_in(self.mlp_norm(tokens))))
