"""``ablate.*``: what each part is worth, by training without it: variants of this run's own configuration."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from risjax.config.errors import did_you_mean
from risjax.config.evaluate import Method
from risjax.config.section import FromList, PositiveInt, Section


class VariantConfig(Section):
    """One row of the ablation's table: the run's configuration with some settings changed."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """What tables and folders call it."""
    of: str | None = None
    """An earlier variant whose settings and trained weights it takes: nothing is trained then, and only what is read
    after training may differ (covariance, estimator, ``precision.compute``, ``train.posterior.scenes: 0``)."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Dotted paths and their values; none for the run's configuration, or the weights' own, as it is."""


class AblateConfig(Section):
    """The variants, each trained under the same seeds and measured on the same scenes: the run's own, whatever physics
    a variant is trained on."""

    variants: Annotated[tuple[VariantConfig, ...], FromList] = ()
    """The rows; the first is the one that all others are compared with."""
    seeds: PositiveInt = 3
    """Trainings a variant, with the seeds ``run.seed``, ``run.seed + 1``, ...; one says nothing of their spread."""
    source: str | None = None
    """Which of ``evaluate.sources`` all are measured on; null takes the first."""
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
                    f"{variant.name}: of = {variant.of}, expected a variant above it that is trained itself (there: "
                    f"{known}){did_you_mean(variant.of, trained)}"
                )
            names.append(variant.name)
        return variants

    @field_validator("methods")
    @classmethod
    def _learned(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        others = [method for method in methods if not method.startswith("learned")]
        if others:
            raise ValueError(f"got {', '.join(others)}, which no training changes; evaluate.methods has room for them")
        return methods
