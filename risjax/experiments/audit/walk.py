"""Every operation of a traced program, with its dtype, its matmul precision and the room it belongs to.

Which room, is known from `jax.named_scope`: scopes survive tracing in the equations' name stacks, where the backward
pass appears as ``transpose(jvp(loss))``. Equations inside pjit, scan, cond, while and custom-derivative calls have name
stacks relative to their caller, which are joined here.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr

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
"""Categories that the table shows; the rules look at everything."""


class Operation(NamedTuple):
    """One equation of the program that computes something itself (calls are opened, not listed).

    Attributes:
        primitive: its name in jax.
        category: one of the module's constants.
        room: ``loss``, ``network`` or ``outside``.
        is_backward: whether reverse mode made it.
        is_upcast: whether it stands in the scope of `risjax.precision.upcast`.
        inputs: dtypes of its floating-point and complex operands.
        outputs: dtypes of its floating-point and complex results.
        precision: the matmul precision, as jax writes it; None where the operation has none or names none.
        source: file, line and function of the user's code that made it.
    """

    primitive: str
    category: str
    room: str
    is_backward: bool
    is_upcast: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    precision: str | None
    source: str

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The different dtypes that it touches, in alphabetical order."""
        return tuple(sorted({*self.inputs, *self.outputs}))


def operations(program: ClosedJaxpr) -> Iterator[Operation]:
    """All operations of a program that touch floating-point or complex values, calls opened."""
    yield from _walk(program.jaxpr, "", "")


def _walk(jaxpr: Jaxpr, scope: str, caller: str) -> Iterator[Operation]:
    for equation in jaxpr.eqns:
        inner_scope = f"{scope}/{equation.source_info.name_stack}"
        source = source_info_util.summarize(equation.source_info).strip() or caller
        inner = list(_inner_programs(equation.params))
        for program in inner:
            yield from _walk(program, inner_scope, source)
        inputs, outputs = _inexact(equation.invars), _inexact(equation.outvars)
        if inner or not (inputs or outputs):
            continue
        name = equation.primitive.name
        yield Operation(
            primitive=name,
            category=_CATEGORY_OF.get(name, ELEMENTWISE),
            room=next((room for room in ("loss", "network") if _within(inner_scope, room)), "outside"),
            is_backward="transpose(" in inner_scope,
            is_upcast=_within(inner_scope, "upcast"),
            inputs=inputs,
            outputs=outputs,
            precision=_precision(equation.params),
            source=source,
        )


def _inner_programs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item


def _within(scope: str, name: str) -> bool:
    """Whether a whole component of the name stack, undone of its transformations, is ``name``."""
    return name in re.split(r"[/()]", scope)


def _inexact(variables: Any) -> tuple[str, ...]:
    dtypes = (getattr(variable.aval, "dtype", None) for variable in variables)
    return tuple(str(dtype) for dtype in dtypes if dtype is not None and jax.numpy.issubdtype(dtype, jax.numpy.inexact))


def _precision(params: dict[str, Any]) -> str | None:
    """The lower of the two operands' precisions; a named algorithm by its name."""
    precision = params.get("precision")
    if isinstance(precision, tuple):
        precision = min(precision, key=lambda one: ("DEFAULT", "HIGH", "HIGHEST").index(one.name))
    return getattr(precision, "name", None if precision is None else str(precision))
