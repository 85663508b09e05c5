"""XLA's older emitters of CPU kernels where LLVM's optimisations are left out: they compile in a third of the time.

jax has no setting for an option of all its programs, only ``XLA_FLAGS``, which a process reads once; so a function of
jax's own is wrapped. Where a jaxlib no longer has the older emitters, the newer ones compile everything, as for users.
"""

import os
from typing import Any

import jax
from jax._src import compiler

_OPTION = "xla_cpu_use_fusion_emitters"


def _has_older() -> bool:
    """Whether this jaxlib, on CPUs, can be asked for them."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda x: -x).lower(1.0).compile(compiler_options={_OPTION: False})
    except (jax.errors.JaxRuntimeError, ValueError):
        return False
    return True


def use_older() -> None:
    """Has programs compiled by the older emitters from now on wherever ``jax_disable_most_optimizations`` is set.

    Processes that are started later use them too, so not to be called before those that run tests have started.
    """
    if not _has_older():
        return
    own = compiler.get_compile_options

    def get_compile_options(*args: Any, env_options_overrides: dict[str, Any] | None = None, **named: Any) -> Any:
        if jax.config.read("jax_disable_most_optimizations"):
            env_options_overrides = {_OPTION: False, **(env_options_overrides or {})}
        return own(*args, env_options_overrides=env_options_overrides, **named)

    compiler.get_compile_options = get_compile_options
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --{_OPTION}=false".strip()
