"""``simulate.*``: number and place of the scenes that are written."""

from risjax.registry.section import PositiveInt, Section


class SimulateConfig(Section):
    """The scene files that the ``simulate`` stage writes."""

    scenes: PositiveInt = 4096
    """Number of scenes."""
    shard_scenes: PositiveInt = 1024
    """Scenes a file, rounded up to whole batches of 128."""
    path: str | None = None
    """Directory of the files; null is ``scenes`` in the run directory."""
