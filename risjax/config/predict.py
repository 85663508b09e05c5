"""``data.*``, ``predict.*`` and ``export.*``: using a trained network."""

from typing import Annotated, Literal

from pydantic import Field

from risjax.registry.section import Fraction, FromList, NonNegativeInt, PositiveInt, Section

Observed = Literal["snapshots", "channel", "codes", "elements_m", "wavelength_m"]
ArrayNames = str | Annotated[tuple[str, str], FromList]


class DataConfig(Section):
    """Measurements in which sources are localised."""

    path: str | None = None
    """A ``.mat``, ``.h5`` or ``.npz`` file, or a directory that ``simulate`` wrote; docs/bring-your-file.md describes
    its arrays."""
    names: dict[Observed, ArrayNames] = Field(default_factory=dict)
    """Names in the file, ``{snapshots: meas.Y, channel: meas.H, codes: C}``: dots lead into structs and groups, a list
    ``[meas.I, meas.Q]`` is real and imaginary part. Arrays that are left out have their usual names."""
    axes: dict[Observed, str] = Field(default_factory=dict)
    """Order of the axes in the file, ``{snapshots: LMS}``: S scenes, L snapshots, M antennas, N elements, P the
    surface's plane, C real and imaginary part. Usual orders are recognised."""
    codes_measured: bool = False
    """The codes are measured reflection coefficients, whose modulus may differ from 1. Implied for directories of
    scenes that were simulated with such impairments."""


class PredictConfig(Section):
    """The stage ``predict``."""

    batch_size: PositiveInt = 32
    """Scenes at a time."""
    part_scenes: PositiveInt = 4096
    """Scenes after which results are written to disk, and the most that are in memory."""
    limit: PositiveInt | None = None
    """Stop after so many scenes; null takes all."""
    min_existence: Fraction = 0.0
    """Leave out sources that exist with less than this probability."""
    figures: Literal["all"] | Annotated[tuple[NonNegativeInt, ...], FromList] = ()
    """Scenes (counted from 0) of which a figure is drawn, or ``all``."""


class ExportConfig(Section):
    """The stage ``export``."""

    platforms: Annotated[tuple[Literal["cpu", "cuda"], ...], FromList, Field(min_length=1)] = ("cpu", "cuda")
    """Platforms on which the exported program runs."""
