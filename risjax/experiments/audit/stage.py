"""The stage ``audit``: checks that the loss of a configuration runs in full precision."""

from collections import Counter

import jax
from jax.extend.core import ClosedJaxpr

from risjax.config import Config
from risjax.data.stream import scene_batch
from risjax.experiments.audit.rules import Violation, violations
from risjax.experiments.audit.walk import TABULATED, Operation, operations
from risjax.keys import Purpose
from risjax.model import build
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train.settings import make_settings, program_key
from risjax.train.state import init_state
from risjax.train.step import make_step


def run_audit(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    """Print the table of operations and each violation with its source line; write ``audit.json``.

    The step is traced with abstract values, in seconds; nothing is compiled and no scene is drawn.

    Returns:
        True if the step has no violations.
    """
    try:
        program = list(operations(trace_step(config)))
    except (AssertionError, ValueError, NotImplementedError) as error:
        # `check_upcast` and `require_full_precision` raise at trace time, before a program exists.
        first_line = str(error).strip().splitlines()[0]
        program, found = [], [Violation(f"the training step cannot be traced: {first_line}", "")]
    else:
        found = violations(program, compute=config.precision.compute, loss_matmul=config.precision.loss_matmul)
    rows = table(program)
    precision = config.precision
    terminal.table(
        f"operations of the training step (compute {precision.compute}, loss matmul {precision.loss_matmul})",
        rows,
        always=True,
    )
    for violation in found:
        terminal.say(f"✗ {violation.message}{f'  [{violation.source}]' if violation.source else ''}", always=True)
    if not found:
        counted = sum(operation.part == "loss" for operation in program)
        terminal.say(
            f"✓ all {counted} operations of the loss, forward and backward, run in float32/complex64 or wider, and "
            f"every contraction at matmul precision {precision.loss_matmul} or above",
            always=True,
        )
    directory.write_json(
        "audit.json",
        {"clean": not found, "violations": [violation._asdict() for violation in found], "operations": rows},
    )
    return not found


def trace_step(config: Config) -> ClosedJaxpr:
    """Return the jaxpr of the training step of a configuration.

    It is the step that `risjax.train` compiles, without its chex assertions (``checks.finite``), which change no value.
    """
    checks = config.checks.model_copy(update={"finite": False})
    config = config.model_copy(update={"checks": checks})
    key, settings = program_key(config), make_settings(config)
    network = build(config.physics.array, config.model, config.precision)
    state = jax.eval_shape(lambda: init_state(key, network, settings))
    batch = jax.eval_shape(
        lambda: scene_batch(config.physics, config.run.seed, Purpose.TRAIN_SCENES, 0, config.train.batch_size)
    )
    return jax.make_jaxpr(make_step(key, network))(state, batch, settings)


def table(program: list[Operation]) -> list[dict[str, str | int]]:
    """One row for each kind of operation in the loss and the network, linear algebra first."""
    counts: Counter[tuple[str, str, str, str, str, str]] = Counter()
    for operation in program:
        if operation.part != "outside" and operation.category in TABULATED:
            direction = "backward" if operation.is_backward else "forward"
            dtypes = " ".join(operation.dtypes)
            precision = (operation.precision or ("default" if operation.category == "contraction" else "")).lower()
            counts[operation.part, direction, operation.category, operation.primitive, dtypes, precision] += 1
    names = ("part", "pass", "kind", "operation", "dtypes", "matmul precision", "count")
    ordered = sorted(
        counts.items(), key=lambda row: (row[0][0], row[0][1] != "forward", TABULATED.index(row[0][2]), row)
    )
    return [dict(zip(names, (*key, count), strict=True)) for key, count in ordered]
