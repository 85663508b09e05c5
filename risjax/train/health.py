"""Diagnosis of a non-finite training: the loss terms and scenes that are not finite."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from risjax.loss import LossSettings, loss_settings, make_labels, total_loss
from risjax.model import Params, make_inputs
from risjax.precision import upcast
from risjax.train.locate_nonfinite import first_nonfinite
from risjax.train.settings import program_key
from risjax.train.state import TrainState
from risjax.train.step import make_step
from risjax.train.trainer import Trainer
from risjax.types import Prediction, Scene


class NonFiniteTraining(RuntimeError):
    """A loss, gradient or state is not finite; the message names the leaf, the term and the scenes."""


def find_nonfinite_terms(trainer: Trainer, state: TrainState, batch: Scene) -> list[str]:
    """Find the leaves, terms and scenes that are not finite, in value or in gradient with respect to the predictions.

    Each term is computed separately, over all scenes of a part of the batch (``train.accumulation``), in an additional
    program; meant for a run that is stopping.

    Returns:
        One line for each, such as ``loss term 'projector': gradient of scenes 3, 17``.
    """
    parts = trainer.config.train.accumulation
    size = batch.truth.snr_db.shape[0] // parts
    cuts = [slice(part * size, (part + 1) * size) for part in range(parts)]
    found = [_nonfinite_scenes(trainer, state, jax.tree.map(operator.itemgetter(cut), batch)) for cut in cuts]
    lines = [
        f"{name}{jax.tree_util.keystr(path)}"
        for name, tree in (("params", state.params), ("opt_state", state.opt_state), ("ema", state.ema))
        for path, leaf in jax.tree.leaves_with_path(tree)
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not jnp.isfinite(leaf).all()
    ]
    for what in found[0]:
        scenes = np.flatnonzero(np.concatenate([part[what] for part in found]))
        lines += [f"{what} of scenes {', '.join(map(str, scenes))}"] if scenes.size else []
    return lines or [
        "every term and its gradient with respect to the predictions is finite: the network's backward pass overflows"
    ]


def _nonfinite_scenes(trainer: Trainer, state: TrainState, batch: Scene) -> dict[str, np.ndarray]:
    """Return masks of non-finite scenes for every leaf of predictions and labels, every term and its gradient."""
    config = trainer.config

    @jax.jit  # (otherwise each operation would be compiled separately, which takes longer)
    def scenes_of(params: Params, batch: Scene) -> list[dict[str, Array]]:
        inputs = jax.vmap(lambda observation: make_inputs(observation, config.model, config.physics))(batch.observation)
        prediction = upcast(trainer.program.network.apply(params, inputs.features))
        settings = loss_settings(config.loss)
        labels = make_labels(batch, inputs.sample_factor)
        found = [
            {
                f"{name}{jax.tree_util.keystr(path)}": _is_nonfinite(leaf)
                for path, leaf in jax.tree.leaves_with_path(tree)
                if jnp.issubdtype(leaf.dtype, jnp.inexact)
            }
            for name, tree in (("prediction", prediction), ("labels", labels))
        ]
        for name in settings.weights:
            only = settings._replace(weights={name: 1.0})

            def term_sum(prediction: Prediction, name: str = name, only: LossSettings = only) -> tuple[Array, Array]:
                terms = total_loss(prediction, labels, only, config.covariance, config.precision).terms
                return jnp.sum(terms[name]), terms[name]

            gradient, values = jax.grad(term_sum, has_aux=True)(prediction)
            either = jnp.any(jnp.stack([_is_nonfinite(leaf) for leaf in jax.tree.leaves(gradient)]), axis=0)
            found.append({f"loss term {name!r}: value": _is_nonfinite(values), f"loss term {name!r}: gradient": either})
        return found

    return {what: np.asarray(bad) for found in scenes_of(state.params, batch) for what, bad in found.items()}


def locate(trainer: Trainer, state: TrainState, batch: Scene) -> list[str]:
    """Describe the origin of the first non-finite intermediate of a step, found by `first_nonfinite`.

    Args:
        trainer: the training of the step; its assertions are left out.
        state: the state before the step.
        batch: the step's scenes.
    """
    key = program_key(trainer.config)
    step = make_step(key._replace(checks=key.checks.model_copy(update={"finite": False})), trainer.program.network)
    lines = first_nonfinite(step, state=state, batch=batch, settings=trainer.settings)
    return lines or ["evaluated operation by operation, the step is finite: the compiled program rounds differently"]


def _is_nonfinite(values: Array) -> Array:
    return ~jnp.isfinite(values).reshape(values.shape[0], -1).all(axis=1)
