"""orbax: saving and loading by one process of several (orbax-checkpoint 0.12.8).

``_check_directory_consistency`` compares the directories of all processes and ignores the context's
``active_processes``. A process that saves alone would wait forever.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from orbax.checkpoint import v1 as orbax
from orbax.checkpoint.experimental.v1._src.saving import execution

WAITING = "_check_directory_consistency"
"""Function of orbax that waits for all processes."""


@contextmanager
def without_other_processes(process: int) -> Iterator[None]:
    """Let process number ``process`` save and load inside the block without waiting for any other."""
    context = orbax.Context()
    context.multiprocessing.primary_host, context.multiprocessing.active_processes = process, {process}
    with context, mock.patch.object(execution, WAITING):
        yield
