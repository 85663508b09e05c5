"""``physics.*``: the array, the channel, the codes and the scenes: everything that defines the manifold."""

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from risjax.config.channel import ChannelConfig, check_angles
from risjax.config.codebook import CodebookConfig
from risjax.config.impairments import ImpairmentsConfig
from risjax.registry import (
    FromList,
    Interval,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Section,
    Simulator,
    collect,
    with_sections,
)
from risjax.registry.section import check_ordered

PARAMETERS_PER_SOURCE = 5
"""Azimuth, elevation, range, and a complex amplitude."""


class ArrayConfig(Section):
    """The surface: a uniform planar array in the (horizontal, vertical) plane."""

    num_horizontal: PositiveInt = 12
    """Elements along the horizontal axis; element n = i_v * num_horizontal + i_h."""
    num_vertical: PositiveInt = 12
    """Elements along the vertical axis."""
    wavelength_m: PositiveFloat = 0.3
    """Carrier wavelength in metres."""
    spacing_m: PositiveFloat = 0.15
    """Distance between neighbouring elements in metres."""
    origin: Literal["centre", "element"] = "centre"
    """Origin of ranges: the panel's centre, or (the original pipeline's) element N_H // 2, N_V // 2."""
    wavefront: Literal["spherical", "fresnel", "paraxial"] = "spherical"
    """Exact spherical wavefront, or a named approximation."""
    amplitude: Literal["uniform", "spherical"] = "uniform"
    """Modulus across the panel: uniform, or r / d_n of spherical spreading."""
    pattern_exponent: NonNegativeFloat = 0.0
    """q of the elements' amplitude pattern cos(angle off boresight)^q; 0 is isotropic."""
    elements_m: Annotated[tuple[Annotated[tuple[float, float], FromList], ...], FromList] | None = None
    """(horizontal, vertical) of every element in metres, in the order of n, in place of the uniform grid."""

    @property
    def num_elements(self) -> int:
        """N."""
        return self.num_horizontal * self.num_vertical

    @model_validator(mode="after")
    def _all_elements(self) -> "ArrayConfig":
        if self.elements_m is not None and len(self.elements_m) != self.num_elements:
            raise ValueError(
                f"elements_m holds {len(self.elements_m)} elements, expected num_horizontal * num_vertical = "
                f"{self.num_horizontal} * {self.num_vertical} = {self.num_elements}"
            )
        return self


class UniformSnr(Section):
    """Uniform in dB over ``snr_db``; a point interval fixes the SNR."""

    kind: Literal["uniform"] = "uniform"
    """This law."""


class NormalSnr(Section):
    """Normal in dB, cut off at the ends of ``snr_db``."""

    kind: Literal["normal"]
    """This law."""
    mean_db: float
    """Mean before the ends are cut off."""
    std_db: PositiveFloat
    """Standard deviation before the ends are cut off."""


class ChoiceSnr(Section):
    """One of several values, as for curves against SNR."""

    kind: Literal["choice"]
    """This law."""
    values_db: Annotated[tuple[float, ...], FromList, Field(min_length=1)]
    """In dB, each within ``snr_db``."""
    weights: Annotated[tuple[PositiveFloat, ...], FromList] | None = None
    """Relative frequency of each value; null draws all equally often."""

    @model_validator(mode="after")
    def _one_weight_each(self) -> "ChoiceSnr":
        if self.weights is not None and len(self.weights) != len(self.values_db):
            raise ValueError(f"weights has {len(self.weights)} entries for {len(self.values_db)} of values_db")
        return self


SnrLaw = Annotated[UniformSnr | NormalSnr | ChoiceSnr, Field(discriminator="kind")]


class SceneConfig(Section):
    """The distribution of scenes."""

    max_sources: PositiveInt = 5
    """K_max, slots for sources."""
    num_sources: Annotated[tuple[int, int], FromList] = (1, 5)
    """[least, most] sources a scene, uniform."""
    azimuth_deg: Interval = (-60.0, 60.0)
    """Azimuth of every source, uniform; the field of view of all searches."""
    elevation_deg: Interval = (-30.0, 30.0)
    """Elevation of every source, uniform; the field of view of all searches."""
    range_m: Interval = (0.5, 10.0)
    """Distance of every source from the origin of ranges, uniform."""
    snr_db: Interval = (-5.0, 20.0)
    """[least, most] of the signal power over the noise variance, in dB; ``snr_reference`` defines that power."""
    snr_reference: Literal["received", "transmitted"] = "transmitted"
    """Signal power of the SNR. ``received``: the mean |clean snapshot|^2 of the codes in use; codes are compared at
    equal received power. ``transmitted``: the mean power of codes with independent uniform phases; codes are compared
    at equal transmitted power."""
    snr_law: SnrLaw = UniformSnr()
    """Distribution of the SNR within ``snr_db``: ``{kind: uniform}``, ``{kind: normal, mean_db: ..., std_db: ...}``
    or ``{kind: choice, values_db: [...]}``."""
    min_separation_deg: Annotated[float, Field(ge=0.0, le=30.0)] = 0.0
    """Least angle between any two sources of a scene; 0 leaves them independent."""
    power_db: Interval = (0.0, 0.0)
    """Transmit power of each source, uniform in dB, relative to equal powers; the path loss adds to it."""
    symbols: Literal["constant", "per_snapshot"] = "constant"
    """``constant``: a known pilot, one coherent field for all snapshots; ``per_snapshot``: a fresh symbol in each."""
    modulus: Literal["rayleigh", "unit"] = "rayleigh"
    """Law of a symbol's modulus, of unit mean power; its phase is uniform."""
    gain_db: Interval = (0.0, 50.0)
    """Gain of the whole scene, uniform in dB: the absolute scale of the snapshots is not known to the receiver."""

    @model_validator(mode="after")
    def _possible(self) -> "SceneConfig":
        check_ordered("range_m", self.range_m, strictly=True)
        check_angles("azimuth_deg", self.azimuth_deg)
        check_angles("elevation_deg", self.elevation_deg)
        check_ordered("snr_db", self.snr_db)
        check_ordered("gain_db", self.gain_db)
        check_ordered("power_db", self.power_db)
        self._check_snr_law()
        if self.range_m[0] <= 0:
            raise ValueError(f"range_m must start above 0 m, got {self.range_m[0]}: a source cannot sit on the surface")
        self._check_separable()
        least, most = self.num_sources
        if not 1 <= least <= most <= self.max_sources:
            raise ValueError(
                f"num_sources must be [least, most] with 1 <= least <= most <= max_sources = {self.max_sources}, "
                f"got [{least}, {most}]"
            )
        return self

    def _check_snr_law(self) -> None:
        (low, high), law = self.snr_db, self.snr_law
        if isinstance(law, ChoiceSnr) and not all(low <= value <= high for value in law.values_db):
            raise ValueError(f"snr_law.values_db = {list(law.values_db)} must lie within snr_db = [{low}, {high}]")
        if isinstance(law, NormalSnr):
            farthest = max(low - law.mean_db, law.mean_db - high)
            if low == high or farthest > 3 * law.std_db:
                raise ValueError(
                    f"snr_law: a normal law of mean {law.mean_db} dB and deviation {law.std_db} dB has almost no mass "
                    f"within snr_db = [{low}, {high}]; widen snr_db or move the mean"
                )

    def _check_separable(self) -> None:
        """Each source excludes at most a cap of the sphere; 64 draws a slot must find a direction outside."""
        azimuth, elevation = (tuple(map(math.radians, i)) for i in (self.azimuth_deg, self.elevation_deg))
        view = (azimuth[1] - azimuth[0]) * (math.sin(elevation[1]) - math.sin(elevation[0]))
        caps = (self.max_sources - 1) * 2 * math.pi * (1 - math.cos(math.radians(self.min_separation_deg)))
        if self.min_separation_deg and caps > 0.75 * view:
            raise ValueError(
                f"min_separation_deg = {self.min_separation_deg} is too large for max_sources = {self.max_sources} "
                f"in a field of view of {view:.2g} sr; lower one or widen azimuth_deg and elevation_deg"
            )


SIMULATORS: dict[str, Simulator] = collect(
    "risjax.simulators", Simulator, (Simulator(name="standard", implementation="risjax.physics.scene:draw_scene"),)
)
"""Every simulator of scenes by its name, those of other packages included (`risjax.registry`)."""

if TYPE_CHECKING:
    SimulatorName = str
else:
    SimulatorName = Literal[tuple(SIMULATORS)]


class _PhysicsConfig(Section):
    """The measurement model."""

    array: ArrayConfig = ArrayConfig()
    channel: ChannelConfig = ChannelConfig()
    codebook: CodebookConfig = CodebookConfig()
    impairments: ImpairmentsConfig = ImpairmentsConfig()
    scene: SceneConfig = SceneConfig()
    simulator: SimulatorName = "standard"
    """``standard``: scenes of all sections of ``physics``; or a simulator of another package."""

    @model_validator(mode="after")
    def _identifiable(self) -> "_PhysicsConfig":
        measurements = self.codebook.num_snapshots * self.channel.num_antennas
        most = 2 * measurements // PARAMETERS_PER_SOURCE
        if self.scene.max_sources > most:
            raise ValueError(
                f"scene.max_sources = {self.scene.max_sources} sources of {PARAMETERS_PER_SOURCE} real parameters each "
                f"cannot be distinguished by num_snapshots * num_antennas = {measurements} complex measurements, which "
                f"carry {most} at most; lower max_sources or measure more"
            )
        return self


if TYPE_CHECKING:
    PhysicsConfig = _PhysicsConfig
else:
    PhysicsConfig = with_sections(_PhysicsConfig, SIMULATORS)
