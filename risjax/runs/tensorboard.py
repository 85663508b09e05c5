"""TensorBoard event files: the log's numbers once more, for those who watch trainings there."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class EventFiles:
    """Event files of one training, or nothing at all.

    Args:
        folder: where they go; None writes nothing.
        first_step: the first step to come; of a resumed training TensorBoard drops what it has from there on.

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
        """The numbers of one record of the log as scalars, nested ones with a slash, at ``step``."""
        if self._writer is not None:
            for tag, value in _numbers(record, record["kind"]):
                self._writer.add_scalar(tag, value, step)

    def close(self) -> None:
        """Writes what is still in memory."""
        if self._writer is not None:
            self._writer.close()


def _numbers(record: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}/{name}")
        elif isinstance(value, (int, float)) and name not in ("step", "epoch"):
            yield f"{prefix}/{name}", float(value)
