"""``physics.impairments.*``: deviations of the hardware from the nominal model."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Field, Tag, model_validator

from risjax.registry.section import Fraction, FromList, NonNegativeFloat, Section, check_ordered

KnownImpairment = Literal[
    "phase_error",
    "amplitude_error",
    "dead_elements",
    "coupling",
    "position_jitter",
    "wavelength_error",
    "spacing_error",
]


def _form(value: Any) -> str:
    return "interval" if isinstance(value, list | tuple) else "number"


_Bounded = TypeVar("_Bounded")

Strength = Annotated[
    Annotated[_Bounded, Tag("number")] | Annotated[tuple[_Bounded, _Bounded], FromList, Tag("interval")],
    Discriminator(_form),
]
"""The same in every scene, or [low, high]: each scene draws a value, uniform between the two."""

_BelowHalf = Annotated[float, Field(ge=0.0, lt=0.5)]
_Amplitude = Annotated[float, Field(gt=0.0, le=1.0)]


class ImpairmentsConfig(Section):
    """Deviations of the hardware from the nominal model; all off by default.

    Each strength is a number, the same in all scenes, or ``[low, high]``: every scene draws a value, uniform
    between the two, so that a network is trained for hardware of unknown quality. The codes and the geometry that the
    receiver is given contain the errors of ``known`` and no others. A surface that is the same in every scene and was
    measured beforehand is ``array.elements_m``.
    """

    position_jitter: Strength[_BelowHalf] = 0.0
    """Displacement of every element along both axes, uniform within +- this share of the spacing."""
    wavelength_error: Strength[_BelowHalf] = 0.0
    """Relative error of the wavelength, uniform within +- this."""
    spacing_error: Strength[_BelowHalf] = 0.0
    """Relative error of the spacing, uniform within +- this."""
    phase_error_deg: Strength[NonNegativeFloat] = 0.0
    """Standard deviation of every element's phase offset, the same for all codes of a scene."""
    amplitude_error_db: Strength[NonNegativeFloat] = 0.0
    """Standard deviation of every element's reflection amplitude in dB, the same for all codes of a scene."""
    dead_elements: Strength[Fraction] = 0.0
    """Probability that an element reflects nothing."""
    coupling_min_amplitude: Strength[_Amplitude] = 1.0
    """Least reflection amplitude of a phase shifter over its phase (see `risjax.physics.impairments.coupling`)."""
    channel_error_db: Strength[float] | None = None
    """Power of the channel estimate's error over that of the channel; null is a perfect estimate."""
    clutter_db: Strength[float] | None = None
    """Power of a diffuse field on the surface over that of the sources; null is none."""
    known: Annotated[tuple[KnownImpairment, ...], FromList] = ()
    """Impairments that the receiver has calibrated, scene by scene. With one of the geometry among them, all
    searches, likelihoods and bounds use the scene's surface; the network's input is the image on the elements alone."""

    @model_validator(mode="after")
    def _ordered(self) -> "ImpairmentsConfig":
        for name in self.strengths:
            strength = getattr(self, name)
            if isinstance(strength, tuple):
                check_ordered(name, strength)
        return self

    @property
    def strengths(self) -> tuple[str, ...]:
        """The names of the impairments' strengths."""
        return tuple(name for name in type(self).model_fields if name != "known")

    def is_on(self, name: str) -> bool:
        """Return True if an impairment, named by its strength, differs from its default."""
        return getattr(self, name) != type(self).model_fields[name].default

    @property
    def is_geometry_known(self) -> bool:
        """True if scenes include a geometry that the receiver knows."""
        errors = ("position_jitter", "wavelength_error", "spacing_error")
        return any(name in self.known and self.is_on(name) for name in errors)

    @property
    def are_codes_measured(self) -> bool:
        """True if the receiver is given codes whose modulus differs from 1."""
        errors = {
            "amplitude_error": "amplitude_error_db",
            "dead_elements": "dead_elements",
            "coupling": "coupling_min_amplitude",
        }
        return any(name in self.known and self.is_on(strength) for name, strength in errors.items())
