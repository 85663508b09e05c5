"""From snapshots to sources: scene -> network -> R_eff -> spectrum -> peaks, one function for every stage.

Training's validation, evaluation, prediction and export all call what stands here, so that they cannot
differ in blend, shrinkage, loading or peak search.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from risjax.config import Config
from risjax.covariance import effective_covariance
from risjax.estimators import localise_mvdr
from risjax.model import Params, build, make_inputs
from risjax.precision import upcast
from risjax.types import Estimates, LowRankCovariance, Observation, Prediction


class Pipeline(NamedTuple):
    """The pipeline of a configuration as pure functions of (parameters, batch of observations).

    Attributes:
        predict: the network's prediction in full precision, a batch of complex factors.
        covariance: R_eff of each scene.
        localise: the sources of each scene, blind to K, SNR and noise variance.
    """

    predict: Callable[[Params, Observation], Prediction]
    covariance: Callable[[Params, Observation], LowRankCovariance]
    localise: Callable[[Params, Observation], Estimates]


def make_pipeline(config: Config) -> Pipeline:
    """The pipeline of a configuration; jit what is used of it."""
    network = build(config.physics.array, config.model, config.precision)

    def infer(params: Params, observation: Observation) -> tuple[Prediction, LowRankCovariance]:
        inputs = jax.vmap(lambda scene: make_inputs(scene, config.model))(observation)
        prediction = upcast(network.apply(params, inputs.features))

        def effective(factor: jax.Array, sample: jax.Array) -> LowRankCovariance:
            return effective_covariance(factor, sample, config.covariance)

        return prediction, jax.vmap(effective)(prediction.factor, inputs.sample)

    def predict(params: Params, observation: Observation) -> Prediction:
        return infer(params, observation)[0]

    def covariance(params: Params, observation: Observation) -> LowRankCovariance:
        return infer(params, observation)[1]

    def localise(params: Params, observation: Observation) -> Estimates:
        def one(effective: LowRankCovariance) -> Estimates:
            return localise_mvdr(effective, config.physics, config.estimator)

        return jax.vmap(one)(covariance(params, observation))

    return Pipeline(predict, covariance, localise)
