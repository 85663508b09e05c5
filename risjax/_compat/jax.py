"""jax: the programs inside an equation, the operands of loops, and the state of devices and coordination service.

jax 0.10.2, 0.11.2 and 0.12.0.1 were tried. 0.11 merged ``ClosedJaxpr`` into ``Jaxpr`` and replaced the scan parameters
``num_consts`` and ``num_carry`` by ``ft_in`` and ``ft_out``. Nothing below reads any of these: a program is recognised
by its type, and the role of an operand by its rank inside and outside the loop.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn


class ScanOperands(NamedTuple):
    """Numbers of a scan's operands, which are ordered as constants, carry, stacked; and the scan's public arguments.

    Attributes:
        constants: operands that every step reads.
        carry: operands that a step passes on to the next; the first results as well.
        body: the program of one step.
        length: number of steps.
        reverse: whether the steps run from the last entry to the first.
    """

    constants: int
    carry: int
    body: ClosedJaxpr
    length: int
    reverse: bool


class WhileOperands(NamedTuple):
    """Numbers of a while loop's operands, in their order: constants of the condition, of the body, and carry."""

    condition_constants: int
    body_constants: int
    condition: ClosedJaxpr
    body: ClosedJaxpr


def inner_programs(equation: JaxprEqn) -> list[ClosedJaxpr | Jaxpr]:
    """All programs among an equation's parameters, in containers too, whatever the parameters are called."""
    return list(_programs(tuple(equation.params.values())))


def _programs(value: Any) -> Iterator[ClosedJaxpr | Jaxpr]:
    if isinstance(value, ClosedJaxpr | Jaxpr):
        yield value
    elif isinstance(value, dict):
        yield from _programs(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _programs(item)


def closed(program: ClosedJaxpr | Jaxpr) -> ClosedJaxpr:
    """A program together with its constants; before jax 0.11 some are stored without.

    Raises:
        ValueError: the program needs constants that are not stored with it.
    """
    if isinstance(program, ClosedJaxpr):
        return program
    if program.constvars:
        raise ValueError(f"got a program without its {len(program.constvars)} constants, expected none to be missing")
    return ClosedJaxpr(program, ())


def evaluate(equation: JaxprEqn, values: Sequence[Any]) -> list[Any]:
    """Results of one equation for the values of its operands, as ``jax.core.eval_jaxpr`` computes them."""
    primitive = equation.primitive
    results = primitive.bind(*values, **primitive.get_bind_params(equation.params))
    return list(results) if primitive.multiple_results else [results]


def scan_operands(equation: JaxprEqn) -> ScanOperands:
    """The operands of a ``scan`` equation.

    A stacked operand has one axis more outside the loop than inside. A result is carried if its rank is the same.
    """
    (program,) = inner_programs(equation)
    body = closed(program)
    stacked = sum(_rank(outer) > _rank(inner) for outer, inner in zip(equation.invars, _inputs(body), strict=True))
    carry = sum(_rank(outer) == _rank(inner) for outer, inner in zip(equation.outvars, _outputs(body), strict=True))
    constants = len(equation.invars) - stacked - carry
    return ScanOperands(constants, carry, body, equation.params["length"], equation.params["reverse"])


def while_operands(equation: JaxprEqn) -> WhileOperands:
    """The operands of a ``while`` equation: its carry has as many values as it has results."""
    condition, body = closed(equation.params["cond_jaxpr"]), closed(equation.params["body_jaxpr"])
    carry = len(equation.outvars)
    return WhileOperands(len(_inputs(condition)) - carry, len(_inputs(body)) - carry, condition, body)


def coordination_state() -> Any:
    """Return the state of JAX's coordination service: ``process_id``, ``num_processes`` and ``client``.

    The client is the only access to the key-value store, and `jax.process_index` would start the devices.
    """
    from jax._src.distributed import global_state

    return global_state


def backends_are_initialized() -> bool:
    """Return whether jax has started its devices; there is no public function that does not start them."""
    from jax._src import xla_bridge

    return xla_bridge.backends_are_initialized()


def _rank(variable: Any) -> int:
    return len(variable.aval.shape)


def _inputs(program: ClosedJaxpr) -> list[Any]:
    return list(program.jaxpr.invars)


def _outputs(program: ClosedJaxpr) -> list[Any]:
    return list(program.jaxpr.outvars)
