"""The whole configuration: one section a room."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from risjax.config.estimator import EstimatorConfig
from risjax.config.evaluate import EvaluateConfig
from risjax.config.learning import ChecksConfig, CovarianceConfig, LossConfig, ModelConfig, PrecisionConfig, TrainConfig
from risjax.config.physics import PhysicsConfig
from risjax.config.search import SearchConfig
from risjax.config.section import FromList, Section
from risjax.config.simulate import SimulateConfig

Stage = Literal["simulate", "search", "train", "evaluate", "audit", "report", "verify"]

LEARNING: frozenset[Stage] = frozenset({"search", "train", "audit", "verify"})
"""Stages that make or try the training step."""


class RunConfig(Section):
    """Where the run lives and what it is seeded with."""

    directory: str | None = None
    """null is ``runs/<config name>``."""
    fresh: bool = False
    """Move an old directory of that name aside (never delete it) and start anew."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class Config(Section):
    """A complete, validated configuration; ``config.yaml`` of a run directory holds exactly one."""

    stages: Annotated[tuple[Stage, ...], FromList, Field(min_length=1)]
    """What runs, in this order."""
    run: RunConfig = RunConfig()
    physics: PhysicsConfig = PhysicsConfig()
    precision: PrecisionConfig = PrecisionConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    covariance: CovarianceConfig = CovarianceConfig()
    estimator: EstimatorConfig = EstimatorConfig()
    train: TrainConfig = TrainConfig()
    checks: ChecksConfig = ChecksConfig()
    search: SearchConfig = SearchConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    simulate: SimulateConfig = SimulateConfig()

    @model_validator(mode="after")
    def _learnable(self) -> "Config":
        """No image of the field without one field in all snapshots (`risjax.physics.measurement`)."""
        needing = [stage for stage in self.stages if stage in LEARNING]
        if needing and self.model.encoder == "backprojection" and self.physics.scene.symbols != "constant":
            got = self.physics.scene.symbols
            error = ValueError(
                f"got {got}, expected constant: model.encoder = backprojection, of the stages {', '.join(needing)}, "
                "makes an image of one coherent field in all snapshots; set symbols to constant, or leave these "
                "stages out and evaluate the methods sparse and oracle_mvdr"
            )
            place = ("physics", "scene", "symbols")  # a plain ValueError would be placed at the whole configuration
            raise ValidationError.from_exception_data(
                "Config", [{"type": "value_error", "loc": place, "input": got, "ctx": {"error": error}}]
            )
        return self
