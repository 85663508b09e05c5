"""Which dtype runs where: the policy, the upcast at the loss's door, and float16's loss scale.

The package's only importer of jmp. One cast a direction: parameters and inputs together to the compute dtype inside
the differentiated function, the network's emission to the output dtype at its exit, and predictions *and* labels,
whole pytrees, to full precision at the loss's entry.

Departures from jmp 0.0.4, each confirmed by a test:

* jmp casts float leaves only, so a complex leaf passes `cast_to_compute` unchanged and silently runs the network in
  complex64. Here that is refused: pack complex values into real channels first.
* jmp's ``DynamicLossScale`` drops its floor in every tree map and inspects its leaves when unflattened, which breaks
  ``lower()``, shardings and orbax. Here all numbers of the state are leaves, in explicit float32 and int32.
* ``"half"`` (float16 on GPU, whatever was meant) is no name of a dtype here.
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
"""What the loss may be made of."""

HALF_LIMIT = 4.0
"""Largest entry of a scene's gradient by its prediction that enters a float16 network, for a batch of that one scene.

The loss does not depend on the prediction's scale, so its gradient grows as the prediction shrinks, and by up to
1 / (2 tau) where eigenvalues coincide at the cut. Healthy gradients stay below 0.5, those at a network's start below 2;
without the limit 1e3 was met, which three halvings of a scale of 2^15 do not bring under float16's 65504."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """The dtypes of a run.

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
        """Float leaves to the parameters' dtype; integers, booleans, keys, None untouched."""
        return self._jmp.cast_to_param(tree)

    def cast_to_compute(self, tree: T) -> T:
        """Float leaves to the compute dtype. Pass parameters and inputs *together*: one alone promotes silently.

        Raises:
            ValueError: a complex leaf, which no policy can cast.
        """
        for path, leaf in jax.tree.leaves_with_path(tree):
            if jnp.iscomplexobj(leaf):
                raise ValueError(
                    f"cast_to_compute met a complex leaf, tree{jax.tree_util.keystr(path)} of {leaf.dtype}, and "
                    f"{self.compute} has no complex partner; stack its real and imaginary parts as channels first"
                )
        return self._jmp.cast_to_compute(tree)

    def cast_to_output(self, tree: T) -> T:
        """Float leaves to the output dtype."""
        return self._jmp.cast_to_output(tree)

    @property
    def _jmp(self) -> jmp.Policy:
        return jmp.Policy(self.params, self.compute, self.output)


def make_policy(precision: PrecisionConfig) -> Policy:
    """The policy that a config asks for.

    Raises:
        ValueError: float64 without ``JAX_ENABLE_X64``, which jax would silently run in float32.
    """
    for name in ("params", "compute", "output"):
        _require_x64(jnp.dtype(getattr(precision, name)), f"precision.{name}")
    return Policy(
        jnp.dtype(precision.params), jnp.dtype(precision.compute), jnp.dtype(precision.output), precision.loss_matmul
    )


def upcast(tree: Any) -> Any:
    """Brings a whole pytree to full precision; never narrows.

    ========================================== ==================================
    leaf                                       becomes
    ========================================== ==================================
    float of fewer than 32 bits                float32
    `PackedComplex` of up to 32 bits           one complex64 array
    `PackedComplex` of float64                 one complex128 array
    float32, float64, complex64, complex128    itself
    integer, boolean, key, string, None        itself
    ========================================== ==================================

    Differentiable; cotangents return in the leaf's own dtype.

    Raises:
        ValueError: a 64-bit leaf without ``JAX_ENABLE_X64`` (the first operation on it would narrow it), or a
            `PackedComplex` whose parts differ in shape.
    """
    with jax.named_scope("upcast"):  # by which `risjax.experiments.audit` tells it from a silent promotion
        return jax.tree.map(_upcast_leaf, tree, is_leaf=lambda node: isinstance(node, PackedComplex))


def check_upcast(tree: Any, name: str) -> None:
    """The check at the loss's door: every float or complex leaf is 32 or 64 bits wide, and none is still packed.

    Args:
        tree: what `upcast` returned.
        name: how messages call it, ``"predictions"`` or ``"labels"``.

    Raises:
        AssertionError: by chex at trace time, naming the leaf, its dtype and the fix.
    """

    def inexact(node: Any) -> Any:
        if isinstance(node, PackedComplex):
            raise AssertionError(
                f"{name} still holds a PackedComplex of {node.real.dtype}: upcast the whole pytree, "
                f"risjax.precision.upcast({name})"
            )
        return node if _is_array(node) and jnp.issubdtype(node.dtype, jnp.inexact) else None

    inexact_leaves = jax.tree.map(inexact, tree, is_leaf=lambda node: isinstance(node, PackedComplex))
    check_dtype(inexact_leaves, FULL_PRECISION, name=name)


@jax.custom_vjp
def limit_cotangents(tree: T, bound: Float[Array, ""]) -> T:
    """``tree`` itself; on the way back, a scene's cotangents are shortened until no entry is larger than ``bound``.

    Clipping of the gradient scene by scene, at the door of a float16 network (`HALF_LIMIT`): there one degenerate scene
    would overflow, and have the whole batch skipped. The direction is kept, and what is not finite stays so. Reverse
    mode only.

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
    """State of dynamic loss scaling; every number is a leaf of explicit dtype, so that nothing is lost on the way.

    bfloat16 and float32 use the same type with ``factor`` 1 and scale 1 (`make_loss_scale`): scaling is then a
    multiplication by one, and the training step has one code path.

    Attributes:
        value: the scale, [] float32.
        counter: finite steps since the last change, [] int32.
        period: finite steps before the scale grows, [] int32.
        factor: by which it grows and shrinks, [] float32.
        floor: its least value, [] float32.
    """

    value: Float[Array, ""]
    counter: Int[Array, ""]
    period: Int[Array, ""]
    factor: Float[Array, ""]
    floor: Float[Array, ""]

    def scale(self, tree: T) -> T:
        """Every leaf times the scale, at least in float32 (15 powers of two do not fit into float16)."""
        return jax.tree.map(lambda leaf: leaf * self.value, tree)

    def unscale(self, tree: T) -> T:
        """Every leaf divided by the scale."""
        return jax.tree.map(lambda leaf: leaf / self.value, tree)

    def adjust(self, finite: Bool[Array, ""]) -> "LossScale":
        """The state after a step whose gradient was ``finite`` or not.

        A non-finite gradient divides the scale by ``factor``, never below ``floor``; ``period`` finite ones in a row
        multiply it, unless the product overflows.
        """
        due = self.counter + 1 >= self.period
        larger = self.value * self.factor
        grown = jnp.where(due & jnp.isfinite(larger), larger, self.value)
        shrunk = jnp.maximum(self.floor, self.value / self.factor)
        counter = jnp.where(finite & ~due, self.counter + 1, 0)
        return self._replace(value=jnp.where(finite, grown, shrunk), counter=counter)


def make_loss_scale(precision: PrecisionConfig) -> LossScale:
    """Dynamic loss scaling for float16 compute; for other dtypes a scale that is, and stays, 1."""
    dynamic = precision.compute == "float16"
    return LossScale(
        value=jnp.asarray(precision.initial_loss_scale if dynamic else 1.0, jnp.float32),
        counter=jnp.asarray(0, jnp.int32),
        period=jnp.asarray(precision.loss_scale_period, jnp.int32),
        factor=jnp.asarray(2.0 if dynamic else 1.0, jnp.float32),
        floor=jnp.asarray(precision.min_loss_scale if dynamic else 1.0, jnp.float32),
    )


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every float and complex leaf is finite; True for an empty tree."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if _is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jmp.all_finite(leaves)


def select_tree(predicate: Bool[Array, ""], on_true: T, on_false: T) -> T:
    """``on_true`` where the predicate holds, else ``on_false``, leaf by leaf: how a bad step changes nothing.

    Raises:
        TypeError: leaves that differ in dtype or shape.
    """
    return jmp.select_tree(predicate, on_true, on_false)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def _upcast_leaf(leaf: Any) -> Any:
    if isinstance(leaf, PackedComplex):
        if leaf.real.shape != leaf.imag.shape:
            raise ValueError(f"PackedComplex has parts of shapes {leaf.real.shape} and {leaf.imag.shape}")
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
            f"{name} is {dtype}, but jax runs with 32 bits and would narrow it silently; "
            "set JAX_ENABLE_X64=1, or convert it to 32 bits yourself"
        )
