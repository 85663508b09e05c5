"""``loss.*``: the terms, their weights and the schedule of the weights.

`TERMS` registers the terms, those of other packages included (`risjax.registry`); each has a section of its name.
"""

from typing import TYPE_CHECKING, Any

from pydantic import create_model, model_validator

from risjax.registry import Fraction, LossTerm, PositiveFloat, Section, TermConfig, collect


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


_TORCH = "risjax.experiments.torch_baseline.terms"

TERMS: dict[str, LossTerm] = collect(
    "risjax.loss_terms",
    LossTerm,
    (
        LossTerm(
            name="covariance",
            settings=CovarianceTermConfig,
            weight=1.0,
            implementation="risjax.loss.covariance_nmse:covariance_term",
            torch=f"{_TORCH}:covariance_term",
        ),
        LossTerm(
            name="projector",
            settings=ProjectorTermConfig,
            weight=0.5,
            implementation="risjax.loss.projector_distance:projector_term",
            torch=f"{_TORCH}:projector_term",
        ),
        LossTerm(
            name="alignment",
            settings=AlignmentTermConfig,
            implementation="risjax.loss.subspace_alignment:alignment_term",
            torch=f"{_TORCH}:alignment_term",
        ),
    ),
)
"""Every term of the loss by its name."""


class _Terms(Section):
    @property
    def terms(self) -> dict[str, TermConfig]:
        """Every term by its name, whatever its weight."""
        return {name: getattr(self, name) for name in TERMS}


if TYPE_CHECKING:

    class LossConfig(_Terms):
        """The loss: a weighted sum of terms, each in full precision."""

        covariance: CovarianceTermConfig = CovarianceTermConfig()
        projector: ProjectorTermConfig = ProjectorTermConfig()
        alignment: AlignmentTermConfig = AlignmentTermConfig()
        schedule: LossScheduleConfig = LossScheduleConfig()
else:
    _sections: dict[str, Any] = {
        name: (term.settings, term.settings(weight=term.weight)) for name, term in TERMS.items()
    }
    LossConfig = create_model(
        "LossConfig",
        __base__=_Terms,
        __module__=__name__,
        __doc__="The loss: a weighted sum of terms, each in full precision.",
        **_sections,
        schedule=(LossScheduleConfig, LossScheduleConfig()),
    )
