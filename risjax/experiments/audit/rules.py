"""What the operations of a training step must satisfy.

1. Nothing of the loss, forward or backward, touches a value narrower than float32, except the upcast itself.
2. No contraction of the loss runs below the matmul precision that the config states.
3. Where the policy names a half-precision compute dtype, contractions of the network run in it.
4. There is a loss and a network to look at: an audit that finds no scope has proven nothing.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from risjax.experiments.audit.walk import CONTRACTION, CONVERSION, Operation

FULL_PRECISION = ("float32", "float64", "complex64", "complex128")

_LEVELS = {None: 0, "DEFAULT": 0, "HIGH": 1, "HIGHEST": 2}
_ALGORITHMS = {"F32_F32_F32": 2, "F64_F64_F64": 2, "TF32_TF32_F32_X3": 1, "BF16_BF16_F32_X6": 1, "BF16_BF16_F32_X3": 1}


class Offence(NamedTuple):
    """A rule that an operation breaks.

    Attributes:
        message: what is wrong, with the dtype.
        source: file, line and function of the offender; empty where the program as a whole offends.
    """

    message: str
    source: str


def offences(program: Iterable[Operation], *, compute: str, loss_matmul: str) -> list[Offence]:
    """All offences of a program, one for each rule and source line, in the program's order.

    Args:
        program: from `risjax.experiments.audit.walk.operations`.
        compute: the policy's compute dtype, ``precision.compute``.
        loss_matmul: ``precision.loss_matmul``.
    """
    program = list(program)
    found = [
        *_narrow_in_loss(operation for operation in program if operation.room == "loss"),
        *_imprecise_in_loss((operation for operation in program if operation.room == "loss"), loss_matmul),
        *_network(program, compute),
    ]
    if not any(operation.room == "loss" for operation in program):
        found.append(Offence("no operation stands in the scope 'loss': nothing was audited", ""))
    return list(dict.fromkeys(found))


def _narrow_in_loss(program: Iterable[Operation]) -> Iterator[Offence]:
    for operation in program:
        narrow = [dtype for dtype in operation.dtypes if dtype not in FULL_PRECISION]
        is_the_upcast = operation.is_upcast and operation.category == CONVERSION
        if narrow and not is_the_upcast:
            where = "backward pass of the loss" if operation.is_backward else "loss"
            yield Offence(f"{operation.primitive} on {' and '.join(narrow)} in the {where}", operation.source)


def _imprecise_in_loss(program: Iterable[Operation], loss_matmul: str) -> Iterator[Offence]:
    for operation in program:
        if operation.category != CONTRACTION or not {"float32", "complex64"} & set(operation.inputs):
            continue
        level = _LEVELS.get(operation.precision, _ALGORITHMS.get(str(operation.precision), 0))
        if level < _LEVELS[loss_matmul.upper()]:
            yield Offence(
                f"{operation.primitive} at matmul precision {(operation.precision or 'default').lower()} in the "
                f"{'backward pass of the ' if operation.is_backward else ''}loss, which states {loss_matmul}",
                operation.source,
            )


def _network(program: Iterable[Operation], compute: str) -> Iterator[Offence]:
    contractions = [op for op in program if op.room == "network" and op.category == CONTRACTION]
    if not contractions:
        yield Offence("no contraction stands in the scope 'network': nothing was audited", "")
    for is_backward in (False, True):
        part = [op for op in contractions if op.is_backward == is_backward]
        if part and not any(set(op.inputs) == {compute} for op in part):
            dtypes = " and ".join(sorted({dtype for op in part for dtype in op.inputs}))
            which = "backward pass of the network" if is_backward else "network"
            yield Offence(
                f"no contraction of the {which} runs in {compute}, but in {dtypes}: were parameters *and* inputs cast?",
                part[0].source,
            )
