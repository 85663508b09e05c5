"""Report of compilations: a notice while a program compiles for long, and the time saved by the compilation cache.

JAX reports both through ``jax.monitoring``: a program compiles between the end of its lowering and the end of its
compilation, in the thread that needs it.
"""

import threading
import time
from collections.abc import Callable

_LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"
_COMPILED = "/jax/core/compile/backend_compile_duration"
_HIT = "/jax/compilation_cache/cache_hits"
_SAVED = "/jax/compilation_cache/compile_time_saved_sec"

NOTICE_AFTER_S = 2.0
"""Programs that compile faster are not mentioned."""
_PERIOD_S = 0.5


class Compilation:
    """Counts the programs of this process, and names a program that compiles for long.

    Args:
        notify: called with the name of a program that has compiled for `NOTICE_AFTER_S`, and with None when it is
            done; from another thread than the one that compiles.
    """

    def __init__(self, notify: Callable[[str | None], None]):
        self.num_read = 0
        self.saved_s = 0.0
        self._notify = notify
        self._running: dict[int, tuple[str, float]] = {}
        self._shown: str | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Compilation":
        from jax import monitoring

        monitoring.register_event_listener(self._on_event)
        monitoring.register_event_duration_secs_listener(self._on_duration)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        from jax import monitoring

        monitoring.unregister_event_listener(self._on_event)
        monitoring.unregister_event_duration_listener(self._on_duration)
        self._stopped.set()
        self._thread.join()

    def summary(self) -> str | None:
        """Return one line on what was read from the cache, or None where that saved less than a second.

        JAX stores compile times in whole seconds, rounded down, so the time saved is a lower bound.
        """
        if self.saved_s < 1:
            return None
        return f"compiled programs: {self.num_read} read from the cache, at least {self.saved_s:.0f} s saved"

    def _on_event(self, event: str, **_: object) -> None:
        self.num_read += event == _HIT

    def _on_duration(self, event: str, duration_secs: float, **details: object) -> None:
        thread = threading.get_ident()
        if event == _LOWERED:
            self._running[thread] = (program_words(str(details.get("fun_name", ""))), time.monotonic())
        elif event == _COMPILED:
            self._running.pop(thread, None)
        elif event == _SAVED:
            self.saved_s += max(0.0, duration_secs)

    def _watch(self) -> None:
        while not self._stopped.wait(_PERIOD_S):
            self._show(self._slow_program())
        self._show(None)

    def _slow_program(self) -> str | None:
        now = time.monotonic()
        slow = [name for name, started in list(self._running.values()) if now - started > NOTICE_AFTER_S]
        return slow[0] if slow else None

    def _show(self, name: str | None) -> None:
        if name != self._shown:
            self._shown = name
            self._notify(name)


_PROGRAMS = {
    "checked_fun": "the training step",
    "covariance": "the network",
    "decide": "the posterior decision",
    "fitted": "the covariance of the fits",
    "measure": "the metrics",
    "peaks": "the search for peaks",
    "propose": "the fits of candidates",
    "spectral": "the search for peaks",
    "step": "the training step",
}
"""Descriptions of the largest programs, by the name of their function."""


def program_words(name: str) -> str:
    """Return a program's name in words: ``jit(propose)`` is "the fits of candidates".

    Example:
        >>> program_words("jit(propose)"), program_words("jit(draw_scenes)"), program_words("jit(<lambda>)")
        ('the fits of candidates', 'the program draw_scenes', 'a program')
    """
    function = name.removeprefix("jit(").removesuffix(")").strip()
    if function in _PROGRAMS:
        return _PROGRAMS[function]
    return f"the program {function}" if function.isidentifier() else "a program"
