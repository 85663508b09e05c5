"""``physics.*``: the array, the channel, the codes and the scenes. One section, one manifold."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from risjax.config.section import FromList, Interval, PositiveFloat, PositiveInt, Section, check_ordered


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
    """Where ranges are measured from: the panel's centre, or (the original pipeline's) element N_H // 2, N_V // 2."""
    wavefront: Literal["spherical", "fresnel", "paraxial"] = "spherical"
    """Exact spherical wavefront, or a named approximation."""

    @property
    def num_elements(self) -> int:
        """N."""
        return self.num_horizontal * self.num_vertical


class ChannelConfig(Section):
    """The Rician channel from the surface to the base station."""

    num_antennas: PositiveInt = 16
    """M, antennas of the base station."""
    rician_factor_db: float = 10.0
    """Power of the line of sight over the scattered part, both normalised to the same Frobenius norm."""
    normalisation: Literal["unit", "original"] = "unit"
    """``unit``: E|H_mn|^2 = 1 / N; ``original``: the original pipeline's, whose line of sight carries 1/N of its share."""


class CodebookConfig(Section):
    """The phase codes that the surface runs through."""

    kind: Literal["dft", "original"] = "dft"
    """``dft``: columns of the two-dimensional DFT balanced in both axes; ``original``: the original's strided ones."""
    num_snapshots: PositiveInt = 16
    """L, codes and snapshots a scene."""
    phase_bits: Annotated[int, Field(ge=1, le=16)] | None = 3
    """Bits of the phase shifters; null leaves the phases unquantised."""


class SceneConfig(Section):
    """The law that scenes are drawn from."""

    max_sources: PositiveInt = 5
    """K_max, slots for sources."""
    num_sources: Annotated[tuple[int, int], FromList] = (1, 5)
    """[least, most] sources a scene, uniform."""
    azimuth_deg: Interval = (-60.0, 60.0)
    elevation_deg: Interval = (-30.0, 30.0)
    range_m: Interval = (0.5, 10.0)
    snr_db: Interval = (-5.0, 20.0)
    """Mean |clean snapshot|^2 over the noise variance, uniform in dB."""
    symbols: Literal["constant"] = "constant"
    """``constant``: a known pilot, one coherent field for all snapshots."""

    @model_validator(mode="after")
    def _possible(self) -> "SceneConfig":
        check_ordered("range_m", self.range_m, strictly=True)
        check_ordered("azimuth_deg", self.azimuth_deg)
        check_ordered("elevation_deg", self.elevation_deg)
        check_ordered("snr_db", self.snr_db)
        if self.range_m[0] <= 0:
            raise ValueError(f"range_m must start above 0 m, got {self.range_m[0]}: a source cannot sit on the surface")
        for name, (low, high) in (("azimuth_deg", self.azimuth_deg), ("elevation_deg", self.elevation_deg)):
            if low < -90 or high > 90:
                raise ValueError(f"{name} must lie within [-90, 90] (in front of the surface), got [{low}, {high}]")
        least, most = self.num_sources
        if not 1 <= least <= most <= self.max_sources:
            raise ValueError(
                f"num_sources must be [least, most] with 1 <= least <= most <= max_sources = {self.max_sources}, "
                f"got [{least}, {most}]"
            )
        return self


class PhysicsConfig(Section):
    """Everything that fixes the measurement model."""

    array: ArrayConfig = ArrayConfig()
    channel: ChannelConfig = ChannelConfig()
    codebook: CodebookConfig = CodebookConfig()
    scene: SceneConfig = SceneConfig()

    @model_validator(mode="after")
    def _identifiable(self) -> "PhysicsConfig":
        measurements = self.codebook.num_snapshots * self.channel.num_antennas
        if self.scene.max_sources > measurements:
            raise ValueError(
                f"scene.max_sources = {self.scene.max_sources} sources cannot be told apart by num_snapshots * "
                f"num_antennas = {measurements} measurements; lower max_sources or measure more"
            )
        return self
