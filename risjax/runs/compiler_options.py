"""XLA options that shorten compilation of programs which run briefly on a CPU."""

from importlib.metadata import version

import jax

_OLDER_EMITTERS: dict[str, bool | int] = {"xla_cpu_use_fusion_emitters": False}
_FIRST_WITHOUT_EMITTERS = (0, 11)
"""jaxlib 0.11 removed the option of the fusion emitters."""
_SHORT_TRAINING_SCENES = 29 * 64
_UNOPTIMISED: dict[str, bool | int] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


def fast_compilation() -> dict[str, bool | int]:
    """Return ``compiler_options`` for a program of many small operations; empty where they do not apply.

    They compile the joint fits of the pipeline in half the time, at the same speed. Networks compile more slowly with
    them (2.2 against 3.4 s), so that programs made of large matrix products do without. Without the emitters' option
    the level alone saves little and slows the program down.
    """
    return {**_OLDER_EMITTERS, "xla_backend_optimization_level": 1} if _has_older_emitters() else {}


def run_once() -> dict[str, bool | int]:
    """Return ``compiler_options`` for a program that runs a few times; empty where they do not apply.

    They leave out LLVM's optimisations. The initial state of a training compiles in 1.6 instead of 6.1 s, a batch of
    64 scenes in 0.5 instead of 2.6 s and is then drawn in 32 instead of 7 ms (quick.yaml, jaxlib 0.10, one core).
    """
    if _has_older_emitters():
        return _OLDER_EMITTERS | _UNOPTIMISED
    return dict(_UNOPTIMISED) if jax.default_backend() == "cpu" else {}


def for_training(num_scenes: int) -> dict[str, bool | int]:
    """Return ``compiler_options`` for the step of a training of so many scenes: those of `run_once` for a short one.

    At the default sizes the step compiles in 9.8 instead of 17.0 s and then takes 0.55 instead of 0.30 s for 64 scenes
    (jaxlib 0.10, processor time), so that up to 29 steps gain. A smaller network gains for longer.
    """
    return run_once() if num_scenes <= _SHORT_TRAINING_SCENES else {}


def _has_older_emitters() -> bool:
    """Return True on a CPU with a jaxlib that has the option of the fusion emitters."""
    jaxlib = tuple(int(part) for part in version("jaxlib").split(".")[:2])
    return jax.default_backend() == "cpu" and jaxlib < _FIRST_WITHOUT_EMITTERS
