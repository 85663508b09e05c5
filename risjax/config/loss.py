"""``loss.*``: the terms, their weights and the schedule of the weights."""

from pydantic import model_validator

from risjax.config.section import (
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    Section,
)


class TermConfig(Section):
    """One term of the loss: its weight, and the multiples of it that a training begins and ends with."""

    weight: NonNegativeFloat = 1.0
    """Weight in the sum; 0 leaves the term out of the program."""
    warmup: NonNegativeFloat = 1.0
    """Multiple of ``weight`` at the first step, see ``loss.schedule``; 0 keeps the term for later."""
    final: NonNegativeFloat = 1.0
    """Multiple of ``weight`` at the last step, see ``loss.schedule``."""


class CovarianceTermConfig(TermConfig):
    """NMSE of the predicted covariance against the label, both of trace N."""


class ProjectorTermConfig(TermConfig):
    """Distance of the signal projectors of R_eff and of the label, through ``jnp.linalg.eigh`` with the gauge-invariant
    rule."""


class AlignmentTermConfig(TermConfig):
    """Share of R_pred's power outside the true sources' span, plus the mean share of a true steering vector that R_pred
    does not explain: the second keeps a covariance of rank 1 inside the span from scoring well."""

    loading: PositiveFloat = 0.1
    """delta at trace N: a true source that R_pred gives the power p has the share delta / (p + delta) left to explain.
    The smaller, the more weak sources count."""


class LossScheduleConfig(Section):
    """Three phases of the terms' weights, as shares of all updates. Every weight goes linearly from its ``warmup``
    multiple to ``weight`` itself, stays there, and goes linearly to its ``final`` multiple. All multiples are 1 by
    default, and so all weights constant."""

    warmup_fraction: Fraction = 0.1
    """Length of the first phase; 0 begins with the second."""
    final_fraction: Fraction = 0.2
    """Length of the last phase; 0 ends with the second."""

    @model_validator(mode="after")
    def _within_the_training(self) -> "LossScheduleConfig":
        if self.warmup_fraction + self.final_fraction > 1 + 1e-9:
            raise ValueError(
                f"warmup_fraction and final_fraction must not overlap, got {self.warmup_fraction} and "
                f"{self.final_fraction}, together more than the whole training; lower one of them"
            )
        return self


class LossConfig(Section):
    """The loss: a weighted sum of terms, each in full precision."""

    covariance: CovarianceTermConfig = CovarianceTermConfig(weight=1.0)
    projector: ProjectorTermConfig = ProjectorTermConfig(weight=0.5)
    alignment: AlignmentTermConfig = AlignmentTermConfig(weight=0.0)
    schedule: LossScheduleConfig = LossScheduleConfig()

    @property
    def terms(self) -> dict[str, TermConfig]:
        """Every term by its name, whatever its weight."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: term for name, term in named.items() if isinstance(term, TermConfig)}
