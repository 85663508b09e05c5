"""The product of tokens with a weight matrix, with a backward pass that CPUs run fast.

The gradient of a weight is X^T dY. XLA's CPU backend leaves X^T to a product that reads it strided, over two
contracted axes where tokens have a batch: a copy of X^T first costs less than it saves. GPUs read either order.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


@jax.custom_vjp
def _product(rows: Float[Array, "R inputs"], kernel: Float[Array, "inputs outputs"]) -> Float[Array, "R outputs"]:
    return rows @ kernel


def _forward(rows: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return rows @ kernel, (rows, kernel)


def _backward(kept: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    rows, kernel = kept

    def copied(rows: Array) -> Array:
        return jax.lax.optimization_barrier(rows.T)

    transposed = jax.lax.platform_dependent(rows, cpu=copied, default=jnp.transpose)
    return slope @ kernel.T, transposed @ slope


_product.defvjp(_forward, _backward)


def _tokens_by_kernel(
    tokens: Float[Array, "*batch inputs"],
    kernel: Float[Array, "inputs outputs"],
    dimension_numbers: Any,
    precision: None = None,
    out_sharding: None = None,
) -> Float[Array, "*batch outputs"]:
    """What ``nnx.Linear`` calls with ``(((last axis,), (0,)), ((), ()))``, its only contraction."""
    rows = tokens.reshape(-1, tokens.shape[-1])
    return _product(rows, kernel).reshape(*tokens.shape[:-1], kernel.shape[-1])


def linear(inputs: int, outputs: int, *, use_bias: bool = True, rngs: nnx.Rngs) -> nnx.Linear:
    """A linear layer over tokens; forward-mode derivatives are not supported (`jax.custom_vjp`)."""
    return nnx.Linear(inputs, outputs, use_bias=use_bias, dot_general=_tokens_by_kernel, rngs=rngs)
