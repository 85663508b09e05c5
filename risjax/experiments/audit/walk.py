"""Operations of a traced program with their dtypes, matmul precision and part: loss, network or neither.

`jax.named_scope` gives the part: the name stacks of the equations keep the scopes, and the backward pass appears as
``transpose(jvp(loss))``. Equations inside pjit, scan, cond, while and custom-derivative calls have name
stacks relative to their caller, which this module joins.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr

from risjax._compat.jax import inner_programs

LINEAR_ALGEBRA = "linear algebra"
CONTRACTION = "contraction"
REDUCTION = "reduction"
DIVISION = "division"
TRANSCENDENTAL = "transcendental"
CONVERSION = "conversion"
ELEMENTWISE = "other"

_CATEGORIES = {
    LINEAR_ALGEBRA: "eigh eig cholesky cholesky_update triangular_solve lu svd qr geqrf geqp3 householder_product "
    "schur hessenberg tridiagonal tridiagonal_solve lu_pivots_to_permutation symmetric_product",
    CONTRACTION: "dot_general conv_general_dilated ragged_dot ragged_dot_general",
    REDUCTION: "reduce_sum reduce_prod reduce_max reduce_min reduce cumsum cumprod cumlogsumexp cummax cummin "
    "reduce_window_sum reduce_window add_any psum scatter-add scatter_add reduce_precision",
    DIVISION: "div rem rsqrt integer_pow",
    TRANSCENDENTAL: "sqrt cbrt exp exp2 expm1 log log1p sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh "
    "atanh logistic erf erfc erf_inv pow lgamma digamma square abs",
    CONVERSION: "convert_element_type bitcast_convert_type",
}
_CATEGORY_OF = {primitive: category for category, names in _CATEGORIES.items() for primitive in names.split()}

TABULATED = (LINEAR_ALGEBRA, CONTRACTION, REDUCTION, DIVISION, TRANSCENDENTAL, CONVERSION)
"""Categories in the table; the rules apply to all operations."""


class Operation(NamedTuple):
    """One equation of the program that computes something; calls are replaced by their contents.

    Attributes:
        primitive: its name in jax.
        category: one of the constants of this module.
        part: ``loss``, ``network`` or ``outside``.
        is_backward: it belongs to the backward pass.
        is_upcast: it is part of `risjax.precision.upcast`.
        inputs: dtypes of its floating-point and complex operands.
        outputs: dtypes of its floating-point and complex results.
        precision: the matmul precision in jax's notation; None if the operation has none.
        source: file, line and function of the code that created it.
    """

    primitive: str
    category: str
    part: str
    is_backward: bool
    is_upcast: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    precision: str | None
    source: str

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The distinct dtypes of its operands and results, in alphabetical order."""
        return tuple(sorted({*self.inputs, *self.outputs}))


def operations(program: ClosedJaxpr) -> Iterator[Operation]:
    """Yield all operations of a program on floating-point or complex values, including those inside calls."""
    yield from _walk(program, "", "")


def _walk(program: ClosedJaxpr | Jaxpr, scope: str, caller: str) -> Iterator[Operation]:
    for equation in program.eqns:
        inner_scope = f"{scope}/{equation.source_info.name_stack}"
        source = source_info_util.summarize(equation.source_info).strip() or caller
        inner = inner_programs(equation)
        for called in inner:
            yield from _walk(called, inner_scope, source)
        inputs, outputs = _inexact(equation.invars), _inexact(equation.outvars)
        if inner or not (inputs or outputs):
            continue
        name = equation.primitive.name
        yield Operation(
            primitive=name,
            category=_CATEGORY_OF.get(name, ELEMENTWISE),
            part=next((part for part in ("loss", "network") if _within(inner_scope, part)), "outside"),
            is_backward="transpose(" in inner_scope,
            is_upcast=_within(inner_scope, "upcast"),
            inputs=inputs,
            outputs=outputs,
            precision=_precision(equation.params),
            source=source,
        )


def _within(scope: str, name: str) -> bool:
    """Return whether a component of the name stack, without transformations, equals ``name``."""
    return name in re.split(r"[/()]", scope)


def _inexact(variables: Any) -> tuple[str, ...]:
    dtypes = (getattr(variable.aval, "dtype", None) for variable in variables)
    return tuple(str(dtype) for dtype in dtypes if dtype is not None and jax.numpy.issubdtype(dtype, jax.numpy.inexact))


def _precision(params: dict[str, Any]) -> str | None:
    """Return the lower of the two operands' precisions, or the name of an algorithm."""
    precision = params.get("precision")
    if isinstance(precision, tuple):
        precision = min(precision, key=lambda level: ("DEFAULT", "HIGH", "HIGHEST").index(level.name))
    return getattr(precision, "name", None if precision is None else str(precision))
