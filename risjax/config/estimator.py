"""``estimator.*``: grids, peaks and the detection threshold."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from risjax.config.methods import METHODS
from risjax.registry import Fraction, NonNegativeInt, PositiveFloat, PositiveInt, Section, with_sections


class GridConfig(Section):
    """The search grid, uniform in direction cosines and in inverse range, over the scenes' field of view."""

    num_azimuth: Annotated[int, Field(ge=3)] = 49
    """Points along u = sin(azimuth) cos(elevation)."""
    num_elevation: Annotated[int, Field(ge=3)] = 25
    """Points along v = sin(elevation)."""
    num_range: Annotated[int, Field(ge=2)] = 16
    """Points along 1/r."""


class GreedyConfig(Section):
    """Greedy maximum likelihood on the snapshots."""

    grid: GridConfig = GridConfig(num_azimuth=33, num_elevation=17, num_range=8)
    """Start points of a source; three points a beam suffice, since the joint fit moves it."""
    iterations: PositiveInt = 10
    """Levenberg-Marquardt steps after each new source."""
    penalty: PositiveFloat = 1.0
    """Factor on BIC's penalty of 5 ln(2 L M) a source."""
    false_alarm_rate: Annotated[float, Field(ge=1e-4, lt=1.0)] | None = None
    """Share of scenes of noise alone in which a source may be found. Replaces ``penalty``, by simulation of the search
    on noise before the first scene (half a minute at 0.01 on a core)."""

    @model_validator(mode="after")
    def _one_rule(self) -> "GreedyConfig":
        if self.false_alarm_rate is not None and self.penalty != 1.0:
            raise ValueError(
                f"penalty = {self.penalty} and false_alarm_rate = {self.false_alarm_rate} are two stopping rules; give "
                "one of them"
            )
        return self


class SparseConfig(Section):
    """Sparse covariance fitting, for per-snapshot symbols."""

    grid: GridConfig = GridConfig(num_azimuth=33, num_elevation=17, num_range=8)
    """Points that may hold power."""
    iterations: PositiveInt = 40
    """Majorisation-minimisation steps."""
    polish_iterations: NonNegativeInt = 15
    """Steps of stochastic maximum likelihood off the grid; 0 leaves the sources at the fitted spectrum's peaks."""


class PosteriorConfig(Section):
    """From a learned covariance to sources with probabilities: candidates, their elimination, the decision."""

    grid: GridConfig = GridConfig(num_azimuth=25, num_elevation=13, num_range=6)
    """Points searched for candidates, in the learned spectrum and in the residual; the joint fit moves them."""
    residual_rounds: NonNegativeInt = 2
    """Times that the weakest candidate is exchanged for the best point of the fit's residual, if that is better."""
    shortlist: PositiveInt = 16
    """Maxima of the residual's matched filter whose exact gain is computed before one of them is exchanged."""
    iterations: PositiveInt = 3
    """Levenberg-Marquardt steps of the first joint fit, and after an exchange."""
    elimination_iterations: PositiveInt = 2
    """Levenberg-Marquardt steps after a candidate has been dropped."""
    final_iterations: NonNegativeInt = 4
    """Levenberg-Marquardt steps of the fit that is reported, from its state in the elimination."""
    existence: Fraction = 0.42
    """A candidate is reported when the weighted mean of two probabilities is at least this: that it is a source, and
    that it is one whose range lies within ``range_window_m``. Half the attainable F1 maximises F1. Of a spectrum's peak
    it is the probability to be a source alone."""
    range_share: Fraction = 0.8
    """Weight of the second of these probabilities. 0 serves the F1 in angle, 1 the F1 in 3-D and GOSPA."""
    range_window_m: PositiveFloat = 1.0
    """The range reported has the largest expected utility: one for an error within so many metres, less the error
    over twice as many, cut off there. The tolerance of the 3-D F1, and half the cut-off of GOSPA."""


Order = Literal["gap", "mdl", "aic", "sorte"]


class _EstimatorConfig(Section):
    """Estimation of sources from a spectrum, or from the snapshots."""

    grid: GridConfig = GridConfig()
    threshold_db: PositiveFloat = 12.0
    """Peaks further below the scene's highest are not sources."""
    sample_threshold_db: PositiveFloat = 2.0
    """The same for spectra of the sample covariance, whose heights span only a few dB when its rank is one."""
    refine_iterations: PositiveInt = 12
    """Newton steps that move a peak off the grid."""
    min_separation: PositiveFloat = 0.08
    """Peaks closer than this in direction cosines, and ..."""
    min_range_separation: PositiveFloat = 0.3
    """... closer than this in inverse range (1/m), are one peak."""
    candidates: PositiveInt = 16
    """Local maxima of the grid that are refined."""
    order: Order = "gap"
    """Number of sources of MUSIC and ESPRIT where K is unknown, from the eigenvalues of the covariance: ``gap`` counts
    those above 1e-3 of the largest; ``mdl``, ``aic`` and ``sorte`` are criteria for snapshots with changing symbols."""
    greedy: GreedyConfig = GreedyConfig()
    sparse: SparseConfig = SparseConfig()
    posterior: PosteriorConfig = PosteriorConfig()


if TYPE_CHECKING:
    EstimatorConfig = _EstimatorConfig
else:
    EstimatorConfig = with_sections(_EstimatorConfig, METHODS)
