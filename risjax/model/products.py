"""The product of tokens with a weight matrix and the addition of a bias, with backward passes of their own.

The gradient of a weight is X^T dY. XLA's CPU backend leaves X^T to a product that reads it strided: a copy of X^T first
costs less than it saves. Left to itself it makes that copy one loop with whatever made X, which walks every array that
X was made of by columns: of an MLP's hidden layer that took longer than the product. `_copied` has X first, then its
transpose. The network with its backward pass gains a fifth (``benchmarks/products.py``). GPUs read either order.
"""

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

    transposed = jax.lax.platform_dependent(rows, cpu=_copied, default=jnp.transpose)
    return slope @ kernel.T, transposed @ slope


def _copied(rows: Float[Array, "R inputs"]) -> Float[Array, "inputs R"]:
    """The transpose in memory of its own, from an array that is in memory.

    XLA fuses through its own optimization_barrier on CPUs, but not into the branches of a conditional. Both are the
    same, so that nothing hangs on which one is taken. (Under vmap, as in a population, a conditional becomes a choice
    and the gain is not secured.)
    """
    either = jnp.sum(rows[:1, :1]) > 0
    return jax.lax.optimization_barrier(jax.lax.cond(either, jnp.transpose, jnp.transpose, rows))


_product.defvjp(_forward, _backward)


def _tokens_by_kernel(
    tokens: Float[Array, "*batch inputs"], kernel: Float[Array, "inputs outputs"]
) -> Float[Array, "*batch outputs"]:
    rows = tokens.reshape(-1, tokens.shape[-1])
    return _product(rows, kernel).reshape(*tokens.shape[:-1], kernel.shape[-1])


@jax.custom_vjp
def plus(wide: Float[Array, "*shape"], spread: Float[Array, "*spread_shape"]) -> Float[Array, "*shape"]:
    """wide + spread, with ``spread`` broadcast along its axes of length one.

    On the way back its cotangent is summed over those axes in float32 where it is in half precision: the sum that JAX
    makes of a broadcast's transpose rounds after every term. On a CPU that cost up to 1.2 % of a bias's gradient in
    bfloat16, against 0.2 % for the one rounding at the end.
    """
    return wide + spread


def _plus_backward(spread: Array, slope: Array) -> tuple[Array, Array]:
    axes = tuple(axis for axis, length in enumerate(spread.shape) if length == 1)
    return slope, jnp.sum(slope, axis=axes, keepdims=True)  # of half precision jnp.sum is one in float32


plus.defvjp(lambda wide, spread: (wide + spread, spread), _plus_backward)


class _Linear(nnx.Linear):
    """``nnx.Linear`` whose bias is added by `plus`."""

    def __call__(self, inputs: Float[Array, "*batch inputs"], out_sharding: None = None) -> Float[Array, "*batch out"]:
        product = _tokens_by_kernel(inputs, self.kernel[...])
        if self.bias is None:
            return product
        return plus(product, self.bias[...].reshape((1,) * (product.ndim - 1) + (-1,)))


def linear(inputs: int, outputs: int, *, use_bias: bool = True, rngs: nnx.Rngs) -> nnx.Linear:
    """A linear layer over tokens; forward-mode derivatives are not supported (`jax.custom_vjp`)."""
    return _Linear(inputs, outputs, use_bias=use_bias, rngs=rngs)
