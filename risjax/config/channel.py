"""``physics.channel.*``: the channel from the surface to the base station.

`CHANNELS` registers its simulators, those of other packages included (`risjax.registry`).
"""

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from risjax.registry import Channel, Interval, PositiveInt, Section, collect, with_sections
from risjax.registry.section import check_ordered

CHANNELS: dict[str, Channel] = collect(
    "risjax.channels", Channel, (Channel(name="rician", implementation="risjax.physics.channel:draw_rician"),)
)
"""Every simulator of channels by its name."""

if TYPE_CHECKING:
    ChannelName = str
else:
    ChannelName = Literal[tuple(CHANNELS)]


def check_angles(name: str, interval: tuple[float, float]) -> None:
    """Raises ValueError unless an interval of angles in degrees is ordered and in front of the panel."""
    check_ordered(name, interval)
    if interval[0] < -90 or interval[1] > 90:
        raise ValueError(f"{name} must lie within [-90, 90] (in front of the surface), got {list(interval)}")


class _ChannelConfig(Section):
    """The channel from the surface to the base station, a uniform linear array along the horizontal axis. All settings
    but ``kind`` and ``num_antennas`` are of the Rician channel."""

    kind: ChannelName = "rician"
    """``rician``: a line of sight and independent Gaussian entries; or a channel of another package."""
    num_antennas: PositiveInt = 16
    """M, antennas of the base station, spaced half a wavelength."""
    rician_factor: Interval = (0.5, 10.0)
    """Power of the line of sight over the scattered part (a ratio, not dB), uniform; the original pipeline's law."""
    line_of_sight_azimuth_deg: Interval = (-60.0, 60.0)
    """Azimuth of the base station as the surface sees it, uniform; a point interval fixes the geometry."""
    line_of_sight_elevation_deg: Interval = (-60.0, 60.0)
    """Elevation of the base station as the surface sees it, uniform."""
    arrival_azimuth_deg: Interval | None = (-60.0, 60.0)
    """Azimuth of the surface as the base station sees it; null repeats the surface's angles, as the original does."""
    distance_m: Interval | None = None
    """Distance from the surface's centre to the base station's, uniform; the line of sight then has spherical
    wavefronts. null is a base station in the far field: plane waves on both sides."""
    normalisation: Literal["unit", "original"] = "unit"
    """``unit``: both parts of equal power, E|H_mn|^2 = 1 / N. ``original``: the original pipeline's, scattered entries
    of power 1 / M and a line of sight of unit Frobenius norm, 1 / N of the share that the Rician factor claims."""

    @model_validator(mode="after")
    def _ordered(self) -> "_ChannelConfig":
        check_ordered("rician_factor", self.rician_factor)
        if self.rician_factor[0] < 0:
            raise ValueError(f"rician_factor is a ratio of powers and cannot be negative, got {self.rician_factor[0]}")
        check_angles("line_of_sight_azimuth_deg", self.line_of_sight_azimuth_deg)
        check_angles("line_of_sight_elevation_deg", self.line_of_sight_elevation_deg)
        if self.arrival_azimuth_deg is not None:
            check_angles("arrival_azimuth_deg", self.arrival_azimuth_deg)
        if self.distance_m is not None:
            check_ordered("distance_m", self.distance_m)
            if self.distance_m[0] <= 0:
                raise ValueError(f"distance_m must start above 0 m, got {self.distance_m[0]}")
        return self


if TYPE_CHECKING:
    ChannelConfig = _ChannelConfig
else:
    ChannelConfig = with_sections(_ChannelConfig, CHANNELS)
