"""The schema of a configuration: pydantic, frozen and strict. Nothing here imports jax."""

from risjax.config.code_design import DesignConfig, DesignStageConfig
from risjax.config.compare import CompareConfig
from risjax.config.debug import DebugConfig
from risjax.config.distributed import DistributedConfig
from risjax.config.estimator import EstimatorConfig, GridConfig, PosteriorConfig
from risjax.config.evaluate import EvaluateConfig, SourceConfig, ToleranceConfig
from risjax.config.impairments import ImpairmentsConfig
from risjax.config.loss import LossConfig
from risjax.config.model import CovarianceConfig, ModelConfig, PrecisionConfig
from risjax.config.physics import (
    ArrayConfig,
    ChannelConfig,
    CodebookConfig,
    PhysicsConfig,
    SceneConfig,
)
from risjax.config.predict import DataConfig, ExportConfig, PredictConfig
from risjax.config.release import ReleaseConfig
from risjax.config.root import Config, RunConfig
from risjax.config.search import Distribution, SearchConfig
from risjax.config.simulate import SimulateConfig
from risjax.config.train import ChecksConfig, TrainConfig

__all__ = [
    "ArrayConfig",
    "ChannelConfig",
    "ChecksConfig",
    "CodebookConfig",
    "CompareConfig",
    "Config",
    "CovarianceConfig",
    "DataConfig",
    "DebugConfig",
    "DesignConfig",
    "DesignStageConfig",
    "DistributedConfig",
    "Distribution",
    "EstimatorConfig",
    "EvaluateConfig",
    "ExportConfig",
    "GridConfig",
    "ImpairmentsConfig",
    "LossConfig",
    "ModelConfig",
    "PhysicsConfig",
    "PosteriorConfig",
    "PrecisionConfig",
    "PredictConfig",
    "ReleaseConfig",
    "RunConfig",
    "SceneConfig",
    "SearchConfig",
    "SimulateConfig",
    "SourceConfig",
    "ToleranceConfig",
    "TrainConfig",
]
