"""Older CPU emitters of XLA for tests without LLVM optimisations; they compile in a third of the time.

jax has no setting for an option of all its programs, only ``XLA_FLAGS``, which a process reads once; so a function of
jax's own is wrapped. Where a jaxlib no longer has the older emitters, the newer ones compile everything, as for users.
"""

import os
from typing import Any

import jax
from jax._src import compiler

_OPTION = "xla_cpu_use_fusion_emitters"


def _has_older() -> bool:
    """Return True if this jaxlib has the older emitters, on a CPU."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda x: -x).lower(1.0).compile(compiler_options={_OPTION: False})
    except (jax.errors.JaxRuntimeError, ValueError):
        return False
    return True


def use_older() -> None:
    """Compile with the older emitters if ``jax_disable_most_optimizations`` is set.

    Subprocesses started later use them, too; call this only after the test workers have started.
    """
    if not _has_older():
        return
    original = compiler.get_compile_options

    def get_compile_options(*args: Any, env_options_overrides: dict[str, Any] | None = None, **named: Any) -> Any:
        if jax.config.read("jax_disable_most_optimizations"):
            env_options_overrides = {_OPTION: False, **(env_options_overrides or {})}
        return original(*args, env_options_overrides=env_options_overrides, **named)

    compiler.get_compile_options = get_compile_options
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --{_OPTION}=false".strip()
