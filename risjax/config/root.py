"""The whole configuration: one section a room."""

from typing import Annotated, Literal

from pydantic import Field

from risjax.config.estimator import EstimatorConfig
from risjax.config.evaluate import EvaluateConfig
from risjax.config.learning import ChecksConfig, CovarianceConfig, LossConfig, ModelConfig, PrecisionConfig, TrainConfig
from risjax.config.physics import PhysicsConfig
from risjax.config.search import SearchConfig
from risjax.config.section import FromList, Section
from risjax.config.simulate import SimulateConfig

Stage = Literal["simulate", "search", "train", "evaluate", "audit", "report", "verify"]


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
