"""``tune.*``: settings after the network, compared on the trained network of the run."""

from typing import Annotated, Any

from pydantic import Field

from risjax.config.metric import Metric
from risjax.registry.section import FromList, PositiveInt, Section


class TuneConfig(Section):
    """Settings of the covariance, the candidates, the heads and the decision: the network is not trained again. One
    after the other takes each of its values; a value that is better by a paired 95 % interval replaces the run's."""

    settings: dict[str, Annotated[tuple[Any, ...], FromList, Field(min_length=1)]] = Field(default_factory=dict)
    """Dotted path of a setting to the values that are compared with the run's own, in this order: ``covariance.*``,
    ``estimator.posterior.*``, ``model.posterior_width``, ``model.posterior_knots``, ``train.posterior.*``."""
    metric: Metric = "gospa_m"
    """Metric that decides."""
    scenes: PositiveInt = 2000
    """Scenes on which all values are compared."""
    head_scenes: PositiveInt = 2048
    """Scenes whose candidates the posterior head of each comparison learns from. In the end heads are trained on
    ``train.posterior.scenes`` for the chosen values."""
