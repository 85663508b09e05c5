"""``evaluate.*``: scenes, methods, tolerances and intervals of the evaluation."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from risjax.config.methods import METHODS
from risjax.config.physics import PhysicsConfig
from risjax.config.predict import ArrayNames, Observed
from risjax.registry import FromList, PositiveFloat, PositiveInt, Section

if TYPE_CHECKING:
    Method = str
else:
    Method = Literal[tuple(METHODS)]


class SourceConfig(Section):
    """One set of scenes to evaluate on."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """Name in reports and ``metrics.json``."""
    path: str | None = None
    """A scene file; null draws fresh held-out scenes from the physics."""
    names: dict[Observed, ArrayNames] = Field(default_factory=dict)
    """Names in the file, as in ``data.names``."""
    axes: dict[Observed, str] = Field(default_factory=dict)
    """Order of the axes in the file, as in ``data.axes``."""
    physics: PhysicsConfig | None = None
    """The measurement model of these scenes: a profile's name or a section; null is the run's ``physics``."""
    scenes: PositiveInt = 256
    """Most scenes of this set."""


class ToleranceConfig(Section):
    """Largest errors of a match, and the parameters of GOSPA."""

    azimuth_deg: PositiveFloat = 5.0
    """Largest error in azimuth of a match."""
    elevation_deg: PositiveFloat = 5.0
    """Largest error in elevation of a match."""
    range_m: PositiveFloat = 1.0
    """Largest error in range of a match in three dimensions."""
    gospa_cutoff_m: PositiveFloat = 2.0
    """Distance beyond which GOSPA counts a source as missed and an estimate as false."""
    gospa_order: PositiveFloat = 2.0
    """GOSPA's p; its alpha is 2."""


class EvaluateConfig(Section):
    """The evaluation after training."""

    sources: Annotated[tuple[SourceConfig, ...], FromList] = (SourceConfig(name="held_out"),)
    """Sets of scenes, each evaluated separately."""
    methods: Annotated[tuple[Method, ...], FromList, Field(min_length=1)] = (
        "learned_mvdr",
        "learned_ml",
        "mvdr",
        "greedy_ml",
        "oracle_mvdr",
    )
    """Methods to compare, each given neither SNR nor noise level nor K unless its name states it.

    ``learned_mvdr``: MVDR on the learned covariance; ``learned_ml``: the whole pipeline, its peaks as candidates,
    fitted jointly to the snapshots and judged by the posterior head; ``mvdr``, ``bartlett``, ``music``, ``music_2_5d``
    (at most one source in each direction), ``esprit`` (far field): on the sample covariance, no learning;
    ``greedy_ml`` and ``greedy_ml_known_k``: greedy maximum likelihood; ``omp``: matching pursuit on the grid, then a
    joint fit; ``sparse``: sparse covariance fitting, for per-snapshot symbols; ``oracle_mvdr``: MVDR given the true
    covariance and K.
    """
    tolerance: ToleranceConfig = ToleranceConfig()
    batch_size: PositiveInt = 32
    """Scenes at a time: memory and speed."""
    bootstrap_draws: PositiveInt = 2000
    """Resamplings of scenes behind each 95 % interval."""
