"""Rules for the operations of a training step.

1. No operation of the loss, forward or backward, reads or writes a value narrower than float32, except the upcast.
2. No contraction of the loss runs below the matmul precision of the configuration.
3. Where the policy names a half-precision compute dtype, contractions of the network run in it.
4. The program has the scopes ``loss`` and ``network``: without them the audit proves nothing.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from risjax.experiments.audit.walk import CONTRACTION, CONVERSION, Operation

FULL_PRECISION = ("float32", "float64", "complex64", "complex128")

_LEVELS = {None: 0, "DEFAULT": 0, "HIGH": 1, "HIGHEST": 2}
_ALGORITHMS = {"F32_F32_F32": 2, "F64_F64_F64": 2, "TF32_TF32_F32_X3": 1, "BF16_BF16_F32_X6": 1, "BF16_BF16_F32_X3": 1}


class Violation(NamedTuple):
    """A rule that an operation violates.

    Attributes:
        message: the violation, with the dtype.
        source: file, line and function of the operation; empty for violations of the program as a whole.
    """

    message: str
    source: str


def violations(program: Iterable[Operation], *, compute: str, loss_matmul: str) -> list[Violation]:
    """Return all violations of a program, one for each rule and source line, in the program's order.

    Args:
        program: from `risjax.experiments.audit.walk.operations`.
        compute: the policy's compute dtype, ``precision.compute``.
        loss_matmul: ``precision.loss_matmul``.
    """
    program = list(program)
    found = [
        *_narrow_in_loss(operation for operation in program if operation.part == "loss"),
        *_imprecise_in_loss((operation for operation in program if operation.part == "loss"), loss_matmul),
        *_network(program, compute),
    ]
    if not any(operation.part == "loss" for operation in program):
        found.append(Violation("no operation has the scope 'loss': nothing was audited", ""))
    return list(dict.fromkeys(found))


def _narrow_in_loss(program: Iterable[Operation]) -> Iterator[Violation]:
    for operation in program:
        narrow = [dtype for dtype in operation.dtypes if dtype not in FULL_PRECISION]
        is_the_upcast = operation.is_upcast and operation.category == CONVERSION
        if narrow and not is_the_upcast:
            where = "backward pass of the loss" if operation.is_backward else "loss"
            yield Violation(f"{operation.primitive} on {' and '.join(narrow)} in the {where}", operation.source)


def _imprecise_in_loss(program: Iterable[Operation], loss_matmul: str) -> Iterator[Violation]:
    for operation in program:
        if operation.category != CONTRACTION or not {"float32", "complex64"} & set(operation.inputs):
            continue
        level = _LEVELS.get(operation.precision, _ALGORITHMS.get(str(operation.precision), 0))
        if level < _LEVELS[loss_matmul.upper()]:
            yield Violation(
                f"{operation.primitive} at matmul precision {(operation.precision or 'default').lower()} in the "
                f"{'backward pass of the ' if operation.is_backward else ''}loss, which states {loss_matmul}",
                operation.source,
            )


def _network(program: Iterable[Operation], compute: str) -> Iterator[Violation]:
    contractions = [op for op in program if op.part == "network" and op.category == CONTRACTION]
    if not contractions:
        yield Violation("no contraction has the scope 'network': nothing was audited", "")
    for is_backward in (False, True):
        part = [op for op in contractions if op.is_backward == is_backward]
        if part and not any(set(op.inputs) == {compute} for op in part):
            dtypes = " and ".join(sorted({dtype for op in part for dtype in op.inputs}))
            which = "backward pass of the network" if is_backward else "network"
            yield Violation(
                f"no contraction of the {which} runs in {compute}, but in {dtypes}: were parameters *and* inputs cast?",
                part[0].source,
            )
