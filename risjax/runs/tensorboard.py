"""TensorBoard event files with the numbers of the log."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class EventFiles:
    """Event files of one training, or none.

    Args:
        folder: their folder; None writes nothing.
        first_step: the next step; TensorBoard drops the later steps that an interrupted training has written.

    Raises:
        ModuleNotFoundError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path | None, first_step: int):
        self._writer = None
        if folder is None:
            return
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "train.tensorboard=true needs tensorboardX: pip install -e '.[tensorboard]'", name=error.name
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def add(self, record: Mapping[str, Any], step: int) -> None:
        """Add the numbers of one record of the log as scalars at ``step``; nested names are joined with a slash."""
        if self._writer is not None:
            for tag, value in _numbers(record, record["kind"]):
                self._writer.add_scalar(tag, value, step)

    def close(self) -> None:
        """Write the buffered values and close the files."""
        if self._writer is not None:
            self._writer.close()


def _numbers(record: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}/{name}")
        elif isinstance(value, (int, float)) and name not in ("step", "epoch"):
            yield f"{prefix}/{name}", float(value)
