"""Linear layers whose backward pass is fast on CPUs and accurate in half precision.

The gradient of a weight is X^T dY. On a CPU, XLA's product reads X^T with a stride, and a transposed copy of X costs
less than it saves. XLA would fuse that copy with the operations that compute X, which would then read their own inputs
column by column; for the hidden layer of an MLP this took longer than the product. `_copied` therefore stores X before
it transposes it. The network with its backward pass becomes a fifth faster (``benchmarks/products.py``). GPUs read
either order at full speed.
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
    """Stored transpose of a stored array.

    On CPUs XLA fuses across its own optimization_barrier, but not into the branches of a conditional. Both branches
    are the same. Under vmap, as in a population, the conditional becomes a selection and the gain may be lost.
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

    The backward pass sums a half-precision cotangent over those axes in float32. JAX's own transpose of a broadcast
    rounds after every term: on a CPU the gradient of a bias was wrong by up to 1.2 % in bfloat16, against 0.2 % with
    one rounding at the end.
    """
    return wide + spread


def _plus_backward(spread: Array, slope: Array) -> tuple[Array, Array]:
    axes = tuple(axis for axis, length in enumerate(spread.shape) if length == 1)
    return slope, jnp.sum(slope, axis=axes, keepdims=True)  # jnp.sum accumulates half precision in float32


plus.defvjp(lambda wide, spread: (wide + spread, spread), _plus_backward)


class _Linear(nnx.Linear):
    """``nnx.Linear`` whose bias is added by `plus`."""

    def __call__(self, inputs: Float[Array, "*batch inputs"], out_sharding: None = None) -> Float[Array, "*batch out"]:
        product = _tokens_by_kernel(inputs, self.kernel[...])
        if self.bias is None:
            return product
        return plus(product, self.bias[...].reshape((1,) * (product.ndim - 1) + (-1,)))


def linear(inputs: int, outputs: int, *, use_bias: bool = True, rngs: nnx.Rngs) -> nnx.Linear:
    """Linear layer over tokens, with a reverse-mode derivative only (`jax.custom_vjp`)."""
    return _Linear(inputs, outputs, use_bias=use_bias, rngs=rngs)
