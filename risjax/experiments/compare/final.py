"""Accuracy of the two trained networks on the same held-out scenes, through the same pipeline."""

from typing import Any, cast

import jax
import numpy as np

from risjax.config import Config
from risjax.data.stream import draw_batch
from risjax.keys import Purpose
from risjax.loss import covariance_nmse
from risjax.metrics.summary import summarise
from risjax.pipeline import Pipeline
from risjax.types import Estimates, Scene, Sources

SHOWN = ("nmse", "f1_3d", "f1_angle", "gospa_m")


def final_metrics(config: Config, networks: dict[str, Any]) -> dict[str, Any]:
    """Metrics of each network and their paired differences, 95 % intervals over the same resampled scenes.

    Args:
        config: physics, model, covariance, estimator, evaluate; ``compare.scenes`` scenes.
        networks: flax parameters by name.

    Returns:
        ``{"networks": {name: {metric: interval}}, "difference": {metric: interval}, "scenes": S}``, the difference
        being the first network minus the second.
    """
    pipeline = Pipeline(config.physics, config.precision, config.model, config.estimator)
    size = min(config.train.batch_size, config.compare.scenes)

    @jax.jit
    def measure(params: Any, scene: Scene) -> tuple[Estimates, jax.Array]:
        prediction, effective = pipeline.covariance(params, scene.observation, config.covariance)
        nmse = jax.vmap(covariance_nmse)(cast(jax.Array, prediction.factor), scene.truth.label_factor)
        return pipeline.localise(effective, scene.observation.geometry), nmse

    found: dict[str, list[Any]] = {name: [] for name in networks}
    truth: list[Sources] = []
    for index in range(-(-config.compare.scenes // size)):
        scene = draw_batch(config.physics, config.run.seed, Purpose.TEST_SCENES, index, size)
        truth.append(jax.device_get(scene.truth.sources))
        for name, params in networks.items():
            found[name].append(jax.device_get(measure(params, scene)))

    def joined(parts: list[Any]) -> Any:
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: config.compare.scenes], *parts)

    results = {name: joined(parts) for name, parts in found.items()}
    summary = summarise(
        {name: estimates for name, (estimates, _) in results.items()},
        joined(truth),
        config.evaluate.tolerance,
        per_scene={name: {"nmse": nmse} for name, (_, nmse) in results.items()},
        draws=config.evaluate.bootstrap_draws,
        seed=config.run.seed,
    )
    (pair,) = summary["pairs"].values()
    return {
        "networks": {
            name: {metric: parts["overall"].get(metric) for metric in SHOWN}
            for name, parts in summary["methods"].items()
        },
        "difference": {metric: pair["overall"].get(metric) for metric in SHOWN},
        "scenes": summary["scenes"],
    }
