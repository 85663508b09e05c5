"""``data.*``, ``predict.*`` and ``export.*``: using a trained network."""

from typing import Annotated, Literal

from pydantic import Field

from risjax.config.section import Fraction, FromList, NonNegativeInt, PositiveInt, Section


class DataConfig(Section):
    """Measurements to localise in."""

    path: str | None = None
    """A ``.mat`` or ``.npz`` file, or a directory that ``simulate`` wrote; docs/predict.md says what it must hold."""


class PredictConfig(Section):
    """The stage ``predict``."""

    batch_size: PositiveInt = 32
    """Scenes at a time."""
    part_scenes: PositiveInt = 4096
    """Scenes after which the answers so far are safe on disk, and the most that are in memory."""
    limit: PositiveInt | None = None
    """Stop after so many scenes; null takes all."""
    min_existence: Fraction = 0.0
    """Leave out sources that exist with less than this probability."""
    figures: Literal["all"] | Annotated[tuple[NonNegativeInt, ...], FromList] = ()
    """Scenes (counted from 0) of which a figure is drawn, or ``all``."""


class ExportConfig(Section):
    """The stage ``export``."""

    platforms: Annotated[tuple[Literal["cpu", "cuda"], ...], FromList, Field(min_length=1)] = ("cpu", "cuda")
    """What the artefact runs on."""
