"""``loss.*``: the terms and their weights.

`TERMS` registers the terms, those of other packages included (`risjax.registry`); each has a section of its name.
"""

from typing import TYPE_CHECKING, Any

from pydantic import create_model, model_validator

from risjax.registry import LossTerm, PositiveFloat, Section, TermConfig, collect


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


def _is_term(name: Any, value: Any) -> bool:
    return name in TERMS and isinstance(value, dict)


class _Terms(Section):
    @model_validator(mode="before")
    @classmethod
    def _default_weights(cls, values: Any) -> Any:
        """Give each section without a weight the default of its term, which differs from term to term."""
        if not isinstance(values, dict):
            return values
        given = {name: {"weight": TERMS[name].weight, **term} for name, term in values.items() if _is_term(name, term)}
        return {**values, **given}

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
    )
