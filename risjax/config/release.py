"""``release.*``: the folder of released weights of a training."""

from typing import Literal

from risjax.registry.section import Section


class ReleaseConfig(Section):
    """The stage ``release``, which writes into ``<run directory>/release``."""

    name: str | None = None
    """The network's name on its card; null is the run directory's."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of the parameters on disk; bfloat16 halves the file and rounds them to three digits."""
