"""``ablate.*``: the effect of each part, by training without it: variants of this run's configuration."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from risjax.config.errors import did_you_mean
from risjax.config.evaluate import Method
from risjax.registry.section import FromList, PositiveInt, Section


class VariantConfig(Section):
    """One row of the ablation's table: the run's configuration with some settings changed."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """Name in tables and of folders."""
    of: str | None = None
    """An earlier variant whose settings and trained weights it uses: nothing is trained then, and only settings read
    after training may differ (covariance, estimator, ``precision.compute``, ``train.posterior.scenes: 0``)."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Dotted paths and their values; none for the unchanged configuration of the run, or of the weights."""


class AblateConfig(Section):
    """The variants. Each is trained under the same seeds and measured on the same scenes, those of the run's physics,
    whatever physics the variant is trained on."""

    variants: Annotated[tuple[VariantConfig, ...], FromList] = ()
    """The rows; all others are compared with the first."""
    seeds: PositiveInt = 3
    """Trainings a variant, with the seeds ``run.seed``, ``run.seed + 1``, ...; their spread needs at least two."""
    source: str | None = None
    """Entry of ``evaluate.sources`` on which all are measured; null takes the first."""
    methods: Annotated[tuple[Method, ...], FromList, Field(min_length=1)] = ("learned_mvdr", "learned_ml")
    """Methods that read a trained network."""

    @field_validator("variants")
    @classmethod
    def _in_order(cls, variants: tuple[VariantConfig, ...]) -> tuple[VariantConfig, ...]:
        trained: list[str] = []
        names: list[str] = []
        for variant in variants:
            if variant.name in names:
                raise ValueError(f"two variants are called {variant.name}")
            if variant.of is None:
                trained.append(variant.name)
            elif variant.of not in trained:
                known = ", ".join(trained) or "none"
                raise ValueError(
                    f"{variant.name}: of = {variant.of}, expected a trained variant above it (there are "
                    f"{known}){did_you_mean(variant.of, trained)}"
                )
            names.append(variant.name)
        return variants

    @field_validator("methods")
    @classmethod
    def _learned(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        others = [method for method in methods if not method.startswith("learned")]
        if others:
            raise ValueError(
                f"got {', '.join(others)}, expected methods of a trained network; list others in evaluate.methods"
            )
        return methods
