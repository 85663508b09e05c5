"""The whole configuration, with the rules between its sections."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from risjax.config.ablate import AblateConfig
from risjax.config.code_design import DesignStageConfig
from risjax.config.compare import CompareConfig
from risjax.config.debug import DebugConfig
from risjax.config.distributed import DistributedConfig
from risjax.config.estimator import EstimatorConfig
from risjax.config.evaluate import EvaluateConfig
from risjax.config.limit import LimitConfig
from risjax.config.loss import LossConfig
from risjax.config.model import ENCODERS, CovarianceConfig, ModelConfig, PrecisionConfig
from risjax.config.physics import PhysicsConfig
from risjax.config.predict import DataConfig, ExportConfig, PredictConfig
from risjax.config.release import ReleaseConfig
from risjax.config.search import SearchConfig
from risjax.config.simulate import SimulateConfig
from risjax.config.train import ChecksConfig, TrainConfig
from risjax.config.tune import TuneConfig
from risjax.registry.section import FromList, Section

Stage = Literal[
    "simulate",
    "search",
    "train",
    "tune",
    "ablate",
    "evaluate",
    "limit",
    "design",
    "audit",
    "compare",
    "report",
    "verify",
    "release",
    "predict",
    "export",
]

LEARNING: frozenset[Stage] = frozenset({"search", "train", "tune", "ablate", "audit", "verify", "compare"})
"""Stages that run the training step."""

TRAINING: frozenset[Stage] = frozenset({"search", "train", "tune", "ablate", "verify", "release", "compare"})
"""Stages that train a network, or need the run that trained it."""


class RunConfig(Section):
    """Directory and seed of the run."""

    directory: str | None = None
    """null is ``runs/<config name>``."""
    fresh: bool = False
    """Move an old directory of that name aside (it is never deleted) and start from the beginning."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of everything random: parameters, scenes, trials."""
    compile_cache: str = "auto"
    """Folder for compiled programs, which later processes read instead of compiling them again. ``auto`` is
    ``RISJAX_CACHE_DIR`` or the user's cache directory; ``off`` keeps none. JAX's ``JAX_COMPILATION_CACHE_DIR`` wins."""


class Config(Section):
    """A complete, validated configuration; ``config.yaml`` of a run directory holds exactly one."""

    stages: Annotated[tuple[Stage, ...], FromList, Field(min_length=1)]
    """Stages to run, in this order."""
    weights: str | None = None
    """A trained network for ``evaluate``, ``predict`` and ``export``: the name of a released one, a folder that the
    stage ``release`` wrote, or a run directory. Its physics, precision, model, covariance and estimator are the
    defaults of these sections. null takes the network that this run trains."""
    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    physics: PhysicsConfig = PhysicsConfig()
    precision: PrecisionConfig = PrecisionConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    covariance: CovarianceConfig = CovarianceConfig()
    estimator: EstimatorConfig = EstimatorConfig()
    train: TrainConfig = TrainConfig()
    checks: ChecksConfig = ChecksConfig()
    debug: DebugConfig = DebugConfig()
    distributed: DistributedConfig = DistributedConfig()
    search: SearchConfig = SearchConfig()
    tune: TuneConfig = TuneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    limit: LimitConfig = LimitConfig()
    design: DesignStageConfig = DesignStageConfig()
    ablate: AblateConfig = AblateConfig()
    simulate: SimulateConfig = SimulateConfig()
    compare: CompareConfig = CompareConfig()
    predict: PredictConfig = PredictConfig()
    release: ReleaseConfig = ReleaseConfig()
    export: ExportConfig = ExportConfig()

    @model_validator(mode="after")
    def _one_network(self) -> "Config":
        """A run either trains a network or is given one; the stage predict needs measurements."""
        training = [stage for stage in self.stages if stage in TRAINING]
        if self.weights is not None and training:
            raise _problem(
                ("weights",),
                self.weights,
                f"got {self.weights}, expected null: this run trains its network (stages {', '.join(training)}); leave "
                "these stages out, or set weights to null",
            )
        if "predict" in self.stages and self.data.path is None:
            raise _problem(
                ("data", "path"),
                None,
                "is required by the stage predict: data.path=measurements.mat, an .npz file or a directory of shards",
            )
        return self

    @model_validator(mode="after")
    def _learnable(self) -> "Config":
        """Images and likelihoods of candidates need one field in all snapshots (`risjax.physics.measurement`)."""
        needing = [stage for stage in self.stages if stage in LEARNING]
        got = self.physics.scene.symbols
        if needing and got != "constant" and self.model.needs_common_field:
            raise _problem(
                ("physics", "scene", "symbols"),
                got,
                f"got {got}, expected constant: model.encoder = {self.model.encoder}, of the stages "
                f"{', '.join(needing)}, makes an image of one coherent field in all snapshots; set symbols to "
                "constant or model.encoder to minimum_norm, or leave these stages out and evaluate the methods sparse "
                "and oracle_mvdr",
            )
        if "train" in self.stages and got != "constant" and self.train.posterior.scenes:
            raise _problem(
                ("train", "posterior", "scenes"),
                self.train.posterior.scenes,
                f"got {self.train.posterior.scenes}, expected 0: the posterior head judges fits of one coherent field "
                f"to all snapshots, and physics.scene.symbols = {got} have none; set it to 0",
            )
        return self

    @model_validator(mode="after")
    def _buildable(self) -> "Config":
        """A network has whole patches and, for images of a common field, more measurements than elements."""
        stages = [stage for stage in self.stages if stage in LEARNING | {"release"}]
        if not stages:
            return self
        array, patch = self.physics.array, self.model.patch
        sides = (array.num_horizontal, array.num_vertical)
        if ENCODERS[self.model.encoder].needs_patches and any(side % patch for side in sides):
            whole = [side for side in range(1, min(sides) + 1) if not any(length % side for length in sides)]
            raise _problem(
                ("model", "patch"),
                patch,
                f"got {patch} for a surface of {sides[0]} x {sides[1]} elements, expected a divisor of both sides; "
                f"try {' or '.join(map(str, whole))}",
            )
        num_snapshots, num_antennas = self.physics.codebook.num_snapshots, self.physics.channel.num_antennas
        if self.model.needs_common_field and num_snapshots * num_antennas <= array.num_elements:
            raise _problem(
                ("physics", "codebook", "num_snapshots"),
                num_snapshots,
                f"got num_snapshots * num_antennas = {num_snapshots} * {num_antennas} = "
                f"{num_snapshots * num_antennas} measurements, expected more than the {array.num_elements} elements of "
                f"the surface: the stages {', '.join(stages)} estimate its field and the noise variance from them; "
                f"set physics.codebook.num_snapshots to {array.num_elements // num_antennas + 1} or more",
            )
        return self

    @model_validator(mode="after")
    def _exportable(self) -> "Config":
        """An exported program has the inputs (y, H, codes) alone."""
        if "export" in self.stages and self.physics.impairments.is_geometry_known:
            raise _problem(
                ("physics", "impairments", "known"),
                list(self.physics.impairments.known),
                "a geometry known scene by scene is not supported by the stage export, whose program takes (y, H, "
                "codes) of the nominal surface; leave that stage out, or take the geometry's errors from known",
            )
        return self


def _problem(place: tuple[str, ...], got: object, text: str) -> ValidationError:
    """Error of a rule between sections, placed at one setting; a ValueError would be placed at the configuration."""
    detail = {"type": "value_error", "loc": place, "input": got, "ctx": {"error": ValueError(text)}}
    return ValidationError.from_exception_data("Config", [detail])  # type: ignore[list-item]
