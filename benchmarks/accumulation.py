"""Memory of the compiled training step with gradient accumulation over 1 to 8 parts of a batch.

Reads the memory plan of XLA, which does not depend on the load of the machine: bytes of temporaries and of arguments
(the state, and the batch unless the step draws it). Nothing is executed.

    python benchmarks/accumulation.py [CONFIG.yaml] [section.key=value ...]       (default: base.yaml)
"""

import sys

import jax

from risjax.config import Config
from risjax.config.io import apply_overrides, load_config
from risjax.runs.allocator import keep_freed_memory
from risjax.train.settings import make_settings, program_key
from risjax.train.trainer import make_program


def planned_bytes(config: Config) -> tuple[int, int]:
    """Bytes of temporaries and of arguments of a configuration's compiled training step."""
    program, settings = make_program(program_key(config)), make_settings(config)
    parts = config.train.accumulation
    state = jax.eval_shape(program.init, settings)
    scenes = state.step if parts > 1 else jax.eval_shape(program.draw, settings, state.step)
    step = program.stream if parts > 1 else program.step
    plan = step.lower(state, scenes, settings).compile().memory_analysis()  # pyright: ignore[reportFunctionMemberAccess]
    return plan.temp_size_in_bytes, plan.argument_size_in_bytes


def main(arguments: list[str]) -> None:
    """Print one line for each number of parts."""
    keep_freed_memory()  # as the command line does
    name = arguments.pop(0) if arguments and "=" not in arguments[0] else "base.yaml"
    config = load_config(name, [*arguments, "checks.finite=false"])
    print(f"{name}: batch {config.train.batch_size}, {config.precision.compute}, {jax.devices()[0].device_kind}")
    first = None
    for parts in (1, 2, 4, 8):
        temporaries, held = planned_bytes(apply_overrides(config, {"train.accumulation": parts}))
        first = first or temporaries
        share = f"{temporaries / 2**20:.1f} MiB ({temporaries / first:.2f})"
        print(f"{parts} parts: temporaries {share}, arguments {held / 2**20:.1f} MiB")


if __name__ == "__main__":
    main(sys.argv[1:])
