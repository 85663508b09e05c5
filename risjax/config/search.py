"""``search.*``: space, sampler, pruner, length and storage of the Optuna search."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from risjax.registry.section import FromList, NonNegativeInt, PositiveFloat, PositiveInt, Section


class Distribution(Section):
    """One searched setting: exactly one of the four forms."""

    log_uniform: Annotated[tuple[float, float], FromList] | None = None
    """[low, high], uniform in the logarithm."""
    uniform: Annotated[tuple[float, float], FromList] | None = None
    """[low, high]."""
    integer: Annotated[tuple[int, int], FromList] | None = None
    """[low, high], both included."""
    choice: Annotated[tuple[Any, ...], FromList, Field(min_length=1)] | None = None
    """List of values."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "Distribution":
        given = [name for name in ("log_uniform", "uniform", "integer", "choice") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of log_uniform, uniform, integer, choice; got {given or 'none'}")
        bounds = self.log_uniform or self.uniform or self.integer
        if bounds is not None and bounds[0] > bounds[1]:
            raise ValueError(f"{given[0]} must be [low, high] with low <= high, got {list(bounds)}")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform needs low > 0, got {self.log_uniform[0]}")
        return self


class SearchConfig(Section):
    """The search over any setting of the config, by dotted path."""

    trials: PositiveInt = 20
    """Trials in the whole study, of all workers together."""
    epochs: PositiveInt = 4
    """Epochs a trial."""
    steps_per_epoch: PositiveInt | None = None
    """Steps an epoch of a trial; null takes ``train.steps_per_epoch``."""
    metric: Literal["gospa_m", "f1_3d", "f1_angle", "nmse"] = "gospa_m"
    """Objective of a trial, on the fixed validation scenes; ``nmse`` is a surrogate, chosen explicitly."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """Rule that stops unpromising trials early."""
    warmup_epochs: NonNegativeInt = 1
    """Epochs that every trial gets before the pruner may stop it."""
    startup_trials: NonNegativeInt = 5
    """Random trials before the sampler fits a model, and finished ones before the median pruner stops any."""
    first_trial: Literal["random", "configured"] = "random"
    """``configured`` gives the first trial the settings of this configuration and never prunes it, so that the winner
    is compared with them on the same scenes; the space must contain them."""
    finalists: NonNegativeInt = 0
    """Best complete trials that are measured again after the search, together with a ``configured`` first trial; the
    best of these measurements wins. 0 takes the trial with the best value."""
    final_scenes: PositiveInt = 2000
    """Scenes on which the finalists are compared, the same for all and none of the validation's."""
    population: PositiveInt = 1
    """Trials a worker trains together, in one vmapped program, where they differ in continuous settings only (learning
    rate, weights, decay, clipping, covariance). Pays on an accelerator."""
    storage: str | None = None
    """Any Optuna storage URL, or grpc://host:port; null keeps the study inside the run's directory. A password
    in it is never written."""
    study: str | None = None
    """The study's name in ``storage``, shared by its workers; null takes the run directory's name."""
    max_retries: NonNegativeInt = 2
    """Repetitions of a trial whose process was killed."""
    heartbeat_s: PositiveFloat = 20.0
    """Seconds between a worker's heartbeats; after six missed ones a worker on another machine counts as dead."""
    seeds: NonNegativeInt = 0
    """Other seeds under which the best configuration is trained after the search, to compare the spread over
    seeds with the differences between trials; 0 and 1 leave it out, 3 is usual."""
    space: dict[str, Distribution] = Field(default_factory=dict)
    """Dotted path of a setting to its distribution."""
