"""Locating the first operation of a program that produces a non-finite value.

JAX's own tools give less: ``jax.debug_nans`` and ``checkify.float_checks`` name the primitive, but neither its dtype
and operands nor its scope, and no infinity (the first result of an overflowing float16); checkify ignores eigh,
cholesky and triangular_solve. Here the program's jaxpr is evaluated again, equation by equation, and every non-finite
value keeps the origin of its earliest non-finite operand. A NaN that `jnp.where` masks is therefore not reported, and
one that reaches a result is, however many operations are in between.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var

import risjax
from risjax._compat.jax import closed, evaluate, inner_programs, scan_operands, while_operands

_PACKAGE = Path(risjax.__file__).parent


class Origin(NamedTuple):
    """Origin of non-finite values.

    Attributes:
        order: number of non-finite origins before it; -1 for an argument of the program.
        lines: the description.
    """

    order: int
    lines: tuple[str, ...]


class _Known(NamedTuple):
    """A value with its origin, None if the value is finite."""

    value: Any
    origin: Origin | None


def first_nonfinite(function: Callable[..., Any], **arguments: Any) -> list[str]:
    """Evaluate ``function(*arguments)`` operation by operation and describe the origin of its non-finite results.

    Each kind of operation is compiled separately: seconds for a training step, on the device of the arguments.

    Args:
        function: any traceable function, jitted or not.
        **arguments: pytrees of arrays, in the order of the function's parameters, under the names that messages use.

    Returns:
        Lines that name the primitive, dtype and shape, the first bad entry, the named scope, the source file and
        line, and the range of each operand; where it came in with an argument, the argument's leaf and the first
        operation that it spoilt. Empty when every result is finite.
    """
    program = jax.make_jaxpr(function)(*arguments.values())
    inputs = []
    for name, tree in arguments.items():
        for path, leaf in jax.tree.leaves_with_path(tree):
            bad = _bad_entry(leaf)
            line = f"not finite before the first operation: {name}{jax.tree_util.keystr(path)}, {_type(leaf)}, {bad}"
            inputs.append(_Known(leaf, Origin(-1, (line,)) if bad else None))
    interpreter = _Interpreter()
    results = interpreter.run(program, inputs, "", "")
    origins = [known.origin for known in results if known.origin is not None]
    if not origins:
        return []
    first = min(origins, key=lambda origin: origin.order)
    return [*first.lines, *interpreter.reached.get(first, ())]


class _Interpreter:
    """Evaluates jaxprs; counts the operations whose results are not finite."""

    def __init__(self) -> None:
        self.count = itertools.count()
        self.reached: dict[Origin, tuple[str, ...]] = {}
        """The first operation that an argument's origin spoilt."""

    def run(self, program: ClosedJaxpr, arguments: Sequence[_Known], scope: str, caller: str) -> list[_Known]:
        jaxpr = program.jaxpr
        known: dict[Var, _Known] = dict(zip(jaxpr.constvars, (_Known(c, None) for c in program.consts), strict=True))
        known.update(zip(jaxpr.invars, arguments, strict=True))
        last_use = {v: equation for equation in jaxpr.eqns for v in _variables(equation)}
        kept = {atom for atom in jaxpr.outvars if isinstance(atom, Var)}

        def read(atom: Any) -> _Known:
            return _Known(_constant(atom), None) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            operands = [read(atom) for atom in equation.invars]
            inner = f"{scope}/{equation.source_info.name_stack}"
            source = _source(equation) or caller
            known.update(zip(equation.outvars, self._evaluate(equation, operands, inner, source), strict=True))
            for variable in _variables(equation):
                if last_use[variable] is equation and variable not in kept:
                    known.pop(variable, None)
        return [read(atom) for atom in jaxpr.outvars]

    def _evaluate(self, equation: JaxprEqn, operands: list[_Known], scope: str, source: str) -> list[_Known]:
        name = equation.primitive.name
        if name == "cond":
            branch = inner_programs(equation)[int(np.asarray(operands[0].value))]
            return self.run(closed(branch), operands[1:], scope, source)
        if (body := _body(equation)) is not None:
            return self.run(body, operands, scope, source)
        results = evaluate(equation, [operand.value for operand in operands])
        if not any(_bad_entry(result) for result in results):
            return [_Known(result, None) for result in results]
        if name == "scan":
            return self._scan(equation, operands, scope, source)
        if name == "while":
            return self._while(equation, operands, scope, source)
        return self._nonfinite_results(equation, operands, results, scope, source)

    def _nonfinite_results(
        self, equation: JaxprEqn, operands: list[_Known], results: list[Any], scope: str, source: str
    ) -> list[_Known]:
        """Results that are not all finite, with the earliest of the operands' origins, or with a new one."""

        def here(what: str) -> tuple[str, ...]:
            bad = next(result for result in results if _bad_entry(result))
            return (
                f"{what}: {equation.primitive.name} -> {_type(bad)}, {_bad_entry(bad)}, {_scope(scope)}",
                f"at {source}",
                *(f"operand {i}: {_type(known.value)}, {_range(known.value)}" for i, known in enumerate(operands)),
            )

        origins = [operand.origin for operand in operands if operand.origin is not None]
        if origins:
            origin = min(origins, key=lambda known: known.order)
            if origin.order < 0 and origin not in self.reached:
                self.reached[origin] = here("the first operation that it makes non-finite")
        else:
            origin = Origin(next(self.count), here("the first intermediate that is not finite"))
        return [_Known(result, origin if _bad_entry(result) else None) for result in results]

    def _scan(self, equation: JaxprEqn, operands: list[_Known], scope: str, source: str) -> list[_Known]:
        scan = scan_operands(equation)
        consts, rest = operands[: scan.constants], operands[scan.constants :]
        carry, stacked = rest[: scan.carry], rest[scan.carry :]
        emitted: list[list[_Known]] = [[] for _ in range(scan.length)]
        for index in reversed(range(scan.length)) if scan.reverse else range(scan.length):
            slices = [_Known(known.value[index], known.origin) for known in stacked]
            results = self.run(scan.body, [*consts, *carry, *slices], scope, source)
            carry, emitted[index] = results[: scan.carry], results[scan.carry :]
        return [*carry, *(_stack(column) for column in zip(*emitted, strict=True))]

    def _while(self, equation: JaxprEqn, operands: list[_Known], scope: str, source: str) -> list[_Known]:
        loop = while_operands(equation)
        split = loop.condition_constants + loop.body_constants
        condition_constants, body_constants = (
            operands[: loop.condition_constants],
            operands[loop.condition_constants : split],
        )
        carry = operands[split:]
        while bool(self.run(loop.condition, [*condition_constants, *carry], scope, source)[0].value):
            carry = self.run(loop.body, [*body_constants, *carry], scope, source)
        return carry


def _source(equation: JaxprEqn) -> str:
    """File, line and function that made an equation, and the line of this package that it was called from."""
    line = source_info_util.summarize(equation.source_info).strip()
    for frame in getattr(equation.source_info.traceback, "frames", ()):
        if Path(frame.file_name).is_relative_to(_PACKAGE):
            place = f"{frame.file_name}:{frame.line_num}"
            return line if line.startswith(place) else f"{line}, called from {place} ({frame.function_name})"
    return line


def _constant(literal: Any) -> jax.Array:
    return jnp.asarray(literal.val, literal.aval.dtype)


def _variables(equation: JaxprEqn) -> list[Var]:
    return [atom for atom in equation.invars if isinstance(atom, Var)]


def _body(equation: JaxprEqn) -> ClosedJaxpr | None:
    """The program that an equation merely calls: jit, custom_jvp and custom_vjp calls, checkpoint."""
    if equation.primitive.name in ("scan", "while", "cond", "shard_map"):
        return None
    called = inner_programs(equation)
    if len(called) != 1:
        return None
    program = closed(called[0])
    is_a_call = _shapes(program.jaxpr.invars) == _shapes(equation.invars)
    return program if is_a_call and _shapes(program.jaxpr.outvars) == _shapes(equation.outvars) else None


def _shapes(atoms: Sequence[Any]) -> list[tuple[int, ...]]:
    return [atom.aval.shape for atom in atoms]


def _stack(column: Sequence[_Known]) -> _Known:
    origins = [known.origin for known in column if known.origin is not None]
    first = min(origins, key=lambda origin: origin.order, default=None)
    return _Known(jnp.stack([known.value for known in column]), first)


def _inexact(value: Any) -> np.ndarray | None:
    return np.asarray(value) if jnp.issubdtype(value.dtype, jnp.inexact) else None


def _bad_entry(value: Any) -> str:
    """Such as ``nan at [1, 0]``; empty for a finite value, and for integers and keys."""
    array = _inexact(value)
    if array is None or np.isfinite(array).all():
        return ""
    index = np.argwhere(~np.isfinite(array))[0]
    return f"{array[tuple(index)]} at {index.tolist()}"


def _range(value: Any) -> str:
    array = _inexact(value)
    if array is None or not array.size:
        return "exact"
    if bad := _bad_entry(value):
        return bad
    magnitude = np.abs(array).astype(float)
    return f"magnitudes from {magnitude.min():.3g} to {magnitude.max():.3g}"


def _type(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}"


def _scope(scope: str) -> str:
    """The named scopes without repetitions and empty parts, and which pass it is."""
    parts = [part for part in scope.split("/") if part]
    written = "/".join(part for part, _ in itertools.groupby(parts))
    return f"in scope {written or '(none)'}, {'backward' if 'transpose(' in scope else 'forward'}"
