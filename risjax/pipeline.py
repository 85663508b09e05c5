"""From snapshots to sources: scene -> network -> R_eff -> spectrum -> peaks, one function for every stage.

Training's validation, evaluation, prediction and export all call what stands here, so that they cannot
differ in blend, shrinkage, loading or peak search.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from risjax.config import CovarianceConfig, EstimatorConfig, ModelConfig, PhysicsConfig, PrecisionConfig
from risjax.covariance import CovarianceSettings, effective_covariance
from risjax.estimators import localise_mvdr
from risjax.model import Params, build, make_inputs
from risjax.physics.measurement import require_common_field
from risjax.precision import upcast
from risjax.types import Estimates, LowRankCovariance, Observation, Prediction


class Pipeline(NamedTuple):
    """The pipeline as two pure functions over a batch of scenes; jit what calls them.

    Attributes:
        covariance: (parameters, observations, covariance settings) to the network's predictions in full precision
            and R_eff of each scene.
        localise: R_eff of each scene to its sources, blind to K, SNR and noise variance.
    """

    covariance: Callable[
        [Params, Observation, CovarianceConfig | CovarianceSettings], tuple[Prediction, LowRankCovariance]
    ]
    localise: Callable[[LowRankCovariance], Estimates]


def make_pipeline(
    physics: PhysicsConfig, precision: PrecisionConfig, model: ModelConfig, estimator: EstimatorConfig
) -> Pipeline:
    """The pipeline of a configuration's sections.

    Raises:
        ValueError: symbols that change from snapshot to snapshot, of which no image of the field can be made.
    """
    require_common_field(physics.scene, f"model.encoder = {model.encoder}")
    network = build(physics.array, model, precision)

    def covariance(
        params: Params, observation: Observation, settings: CovarianceConfig | CovarianceSettings
    ) -> tuple[Prediction, LowRankCovariance]:
        inputs = jax.vmap(lambda scene: make_inputs(scene, model))(observation)
        prediction = upcast(network.apply(params, inputs.features))
        blend = jax.vmap(lambda factor, sample: effective_covariance(factor, sample, settings))
        return prediction, blend(prediction.factor, inputs.sample)

    def localise(effective: LowRankCovariance) -> Estimates:
        return jax.vmap(lambda one: localise_mvdr(one, physics, estimator))(effective)

    return Pipeline(covariance, localise)
