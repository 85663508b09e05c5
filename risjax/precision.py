"""Mixed precision: dtype policy, upcast before the loss, and loss scaling for float16.

Only this module imports jmp. There are three casts: parameters and inputs together to the compute dtype, inside the
differentiated function; the output of the network to the output dtype; and predictions *and* labels, as whole pytrees,
to full precision before the loss.

Differences from jmp 0.0.4, each confirmed by a test:

* jmp casts float leaves only. A complex leaf passes its `cast_to_compute` unchanged, and the network then computes in
  complex64. Here it raises an error: convert complex values to real channels first.
* jmp's ``DynamicLossScale`` loses its minimum in every tree map and inspects its leaves when unflattened, which breaks
  ``lower()``, shardings and orbax. Here all numbers of the state are leaves, in explicit float32 and int32.
* ``"half"``, which is float16 on GPUs and bfloat16 on TPUs, is not accepted as a dtype.
"""

import dataclasses
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import jmp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from risjax.checks import check_dtype
from risjax.config import PrecisionConfig
from risjax.types import PackedComplex

T = TypeVar("T")

FULL_PRECISION = (jnp.float32, jnp.float64, jnp.complex64, jnp.complex128)
"""Dtypes allowed in the loss."""

HALF_LIMIT = 4.0
"""Limit for the entries of a scene's gradient by its prediction in a float16 network, for a batch of one scene.

The loss does not depend on the scale of the prediction, so its gradient grows as the prediction shrinks; it grows up to
1 / (2 tau) where eigenvalues coincide across the cut. Typical gradients stay below 0.5, those of an untrained network
below 2. Without the limit, values of 1e3 occurred, which after three halvings of a loss scale of 2^15 still exceed the
largest float16 number, 65504."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """Dtypes of a run.

    Attributes:
        params: dtype of the parameters, the optimizer's state and the EMA.
        compute: dtype of the network.
        output: dtype at the network's exit.
        loss_matmul: matmul precision of the loss, for ``jax.default_matmul_precision``.
    """

    params: np.dtype
    compute: np.dtype
    output: np.dtype
    loss_matmul: str

    def cast_to_params(self, tree: T) -> T:
        """Cast float leaves to the dtype of parameters; integers, booleans, keys and None stay unchanged."""
        return self._jmp.cast_to_param(tree)

    def cast_to_compute(self, tree: T) -> T:
        """Cast float leaves to the compute dtype. Pass parameters and inputs *together*, or promotion undoes the cast.

        Raises:
            ValueError: a complex leaf.
        """
        for path, leaf in jax.tree.leaves_with_path(tree):
            if jnp.iscomplexobj(leaf):
                raise ValueError(
                    f"cast_to_compute got a complex leaf, tree{jax.tree_util.keystr(path)} of {leaf.dtype}, expected "
                    "real leaves; stack real and imaginary parts as channels first"
                )
        return self._jmp.cast_to_compute(tree)

    def cast_to_output(self, tree: T) -> T:
        """Cast float leaves to the output dtype."""
        return self._jmp.cast_to_output(tree)

    @property
    def _jmp(self) -> jmp.Policy:
        return jmp.Policy(self.params, self.compute, self.output)


def make_policy(precision: PrecisionConfig) -> Policy:
    """Policy of a configuration.

    Raises:
        ValueError: float64 without ``JAX_ENABLE_X64``; jax would use float32 without a message.
    """
    for name in ("params", "compute", "output"):
        _require_x64(jnp.dtype(getattr(precision, name)), f"precision.{name}")
    return Policy(
        jnp.dtype(precision.params), jnp.dtype(precision.compute), jnp.dtype(precision.output), precision.loss_matmul
    )


def upcast(tree: Any) -> Any:
    """Cast a whole pytree to full precision; never to a narrower dtype.

    ========================================== ==================================
    leaf                                       becomes
    ========================================== ==================================
    float of fewer than 32 bits                float32
    `PackedComplex` of up to 32 bits           one complex64 array
    `PackedComplex` of float64                 one complex128 array
    float32, float64, complex64, complex128    itself
    integer, boolean, key, string, None        itself
    ========================================== ==================================

    Differentiable; the cotangent of a leaf has the dtype of the leaf.

    Raises:
        ValueError: a 64-bit leaf without ``JAX_ENABLE_X64`` (jax would reduce it to 32 bits), or a
            `PackedComplex` whose parts differ in shape.
    """
    with jax.named_scope("upcast"):  # `risjax.experiments.audit` recognises intended casts by this scope
        return jax.tree.map(_upcast_leaf, tree, is_leaf=lambda node: isinstance(node, PackedComplex))


def check_upcast(tree: Any, name: str) -> None:
    """Check that every float or complex leaf has full precision, and that none is a `PackedComplex`.

    Args:
        tree: result of `upcast`.
        name: name of the tree in messages, such as ``"predictions"`` or ``"labels"``.

    Raises:
        AssertionError: at trace time; the message contains the leaf, its dtype and the correction.
    """

    def inexact(node: Any) -> Any:
        if isinstance(node, PackedComplex):
            raise AssertionError(
                f"{name} contains a PackedComplex of {node.real.dtype}, expected complex64; upcast the whole pytree, "
                f"risjax.precision.upcast({name})"
            )
        return node if _is_array(node) and jnp.issubdtype(node.dtype, jnp.inexact) else None

    inexact_leaves = jax.tree.map(inexact, tree, is_leaf=lambda node: isinstance(node, PackedComplex))
    check_dtype(inexact_leaves, FULL_PRECISION, name=name)


@jax.custom_vjp
def limit_cotangents(tree: T, bound: Float[Array, ""]) -> T:
    """``tree`` itself, with the cotangents of each scene scaled so that no entry exceeds ``bound``.

    This clips the gradient scene by scene where it enters a float16 network (`HALF_LIMIT`). Otherwise a single
    degenerate scene would overflow, and the step of the whole batch would be skipped. The direction is kept; values
    that are not finite stay so. Reverse mode only.

    Args:
        tree: a batch of predictions; every leaf with the scenes in its leading axis.
        bound: largest absolute value of a cotangent's entries.
    """
    return tree


def _limit_backward(bound: Array, cotangents: Any) -> tuple[Any, Array]:
    leaves = jax.tree.leaves(cotangents)
    largest = jnp.stack([jnp.max(jnp.abs(leaf), axis=tuple(range(1, leaf.ndim))) for leaf in leaves]).max(axis=0)
    share = jnp.where(largest > bound, bound / largest, 1.0)
    shortened = [leaf * share.reshape(-1, *[1] * (leaf.ndim - 1)) for leaf in leaves]
    return jax.tree.unflatten(jax.tree.structure(cotangents), shortened), jnp.zeros_like(bound)


limit_cotangents.defvjp(lambda tree, bound: (tree, bound), _limit_backward)


class LossScale(NamedTuple):
    """State of dynamic loss scaling; every number is a leaf with an explicit dtype.

    bfloat16 and float32 use the same type with scale 1 and ``factor`` 1 (`make_loss_scale`), so that the training step
    has one code path for all dtypes.

    Attributes:
        value: the scale, [] float32.
        counter: finite steps since the last change, [] int32.
        period: finite steps before the scale grows, [] int32.
        factor: factor of growth and reduction, [] float32.
        floor: minimum of the scale, [] float32.
    """

    value: Float[Array, ""]
    counter: Int[Array, ""]
    period: Int[Array, ""]
    factor: Float[Array, ""]
    floor: Float[Array, ""]

    def scale(self, tree: T) -> T:
        """Every leaf times the scale, in float32 or wider, because products with 2^15 overflow float16."""
        return jax.tree.map(lambda leaf: leaf * self.value, tree)

    def unscale(self, tree: T) -> T:
        """Every leaf divided by the scale."""
        return jax.tree.map(lambda leaf: leaf / self.value, tree)

    def adjust(self, finite: Bool[Array, ""]) -> "LossScale":
        """State after a step whose gradient was ``finite`` or not.

        A non-finite gradient divides the scale by ``factor``, down to ``floor``. After ``period`` finite gradients in a
        row the scale is multiplied by ``factor``, unless the product overflows.
        """
        due = self.counter + 1 >= self.period
        larger = self.value * self.factor
        grown = jnp.where(due & jnp.isfinite(larger), larger, self.value)
        shrunk = jnp.maximum(self.floor, self.value / self.factor)
        counter = jnp.where(finite & ~due, self.counter + 1, 0)
        return self._replace(value=jnp.where(finite, grown, shrunk), counter=counter)


def make_loss_scale(precision: PrecisionConfig) -> LossScale:
    """Dynamic loss scaling for float16 compute; a constant scale of 1 for other dtypes."""
    dynamic = precision.compute == "float16"
    return LossScale(
        value=jnp.asarray(precision.initial_loss_scale if dynamic else 1.0, jnp.float32),
        counter=jnp.asarray(0, jnp.int32),
        period=jnp.asarray(precision.loss_scale_period, jnp.int32),
        factor=jnp.asarray(2.0 if dynamic else 1.0, jnp.float32),
        floor=jnp.asarray(precision.min_loss_scale if dynamic else 1.0, jnp.float32),
    )


def all_finite(tree: Any) -> Bool[Array, ""]:
    """True if every float and complex leaf is finite, also for an empty tree."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if _is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jmp.all_finite(leaves)


def select_tree(predicate: Bool[Array, ""], on_true: T, on_false: T) -> T:
    """``on_true`` if the predicate holds, else ``on_false``, leaf by leaf.

    Raises:
        TypeError: leaves that differ in dtype or shape.
    """
    return jmp.select_tree(predicate, on_true, on_false)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def _upcast_leaf(leaf: Any) -> Any:
    if isinstance(leaf, PackedComplex):
        if leaf.real.shape != leaf.imag.shape:
            raise ValueError(
                f"PackedComplex has parts of shapes {leaf.real.shape} and {leaf.imag.shape}, expected equal shapes"
            )
        return jax.lax.complex(jnp.asarray(_upcast_leaf(leaf.real)), jnp.asarray(_upcast_leaf(leaf.imag)))
    if not _is_array(leaf):
        return leaf
    _require_x64(leaf.dtype, "a leaf of the tree to upcast")
    if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize < 4:
        return jnp.asarray(leaf).astype(jnp.float32)
    return leaf


def _require_x64(dtype: Any, name: str) -> None:
    if dtype in (jnp.float64, jnp.complex128) and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            f"{name} is {dtype}, expected 32 bits or fewer because jax runs without x64; "
            "set JAX_ENABLE_X64=1, or convert it to 32 bits first"
        )
