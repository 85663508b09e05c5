"""Validation on fixed scenes, disjoint from training by construction, in the metrics that are reported."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import Config
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.loss import covariance_nmse
from risjax.metrics import quick
from risjax.model import Params
from risjax.pipeline import make_pipeline
from risjax.types import Estimates, Scene


def make_validation(config: Config) -> Callable[[Params], dict[str, float]]:
    """A function from parameters to metrics: ``nmse`` of R_pred, and F1 and GOSPA of the full pipeline, blind.

    The scenes are drawn once; the last batch is cut where the number of scenes asks for it.
    """
    size = min(config.train.batch_size, config.train.validation_scenes)
    count = -(-config.train.validation_scenes // size)
    draw = jax.jit(lambda index: scene_batch(config.physics, config.run.seed, Purpose.VALIDATION_SCENES, index, size))
    batches = [draw(jnp.asarray(index)) for index in range(count)]
    pipeline = make_pipeline(config)

    @jax.jit
    def measure(params: Params, batch: Scene) -> tuple[Estimates, jax.Array]:
        prediction = pipeline.predict(params, batch.observation)
        nmse = jax.vmap(covariance_nmse)(prediction.factor, batch.truth.label_factor)
        return pipeline.localise(params, batch.observation), nmse

    def validate(params: Params) -> dict[str, float]:
        measured = [jax.device_get((measure(params, batch), batch.truth.sources)) for batch in batches]
        (estimates, nmse), sources = jax.tree.map(
            lambda *parts: np.concatenate(parts)[: config.train.validation_scenes], *measured
        )
        return {"nmse": float(nmse.mean()), **quick(estimates, sources, config.evaluate.tolerance)}

    return validate
