"""What to do when a training is not healthy: stop, and say which loss term and which scenes."""

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import Config
from risjax.loss import active_terms, make_labels, total_loss
from risjax.model import Network, make_inputs
from risjax.precision import upcast
from risjax.train.state import TrainState
from risjax.types import Scene


class NonFiniteTraining(RuntimeError):
    """A loss, a gradient or a state that is not finite; the message names the leaf, the term and the scenes."""


def find_culprits(config: Config, network: Network, state: TrainState, batch: Scene) -> list[str]:
    """Which terms and scenes of a batch have a value or a gradient (by the predictions) that is not finite.

    Runs each term alone over the whole batch, un-jitted work on the host's time: for a run that is stopping.

    Returns:
        One line a culprit, such as ``loss term 'projector': gradient of scenes 3, 17``.
    """
    inputs = jax.vmap(lambda observation: make_inputs(observation, config.model))(batch.observation)
    prediction = upcast(network.apply(state.params, inputs.features))
    labels = make_labels(batch, inputs.sample)
    lines = []
    for path, leaf in jax.tree.leaves_with_path((prediction, labels)):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            lines += _line(f"{'prediction' if path[0].idx == 0 else 'labels'}{jax.tree_util.keystr(path[1:])}", leaf)
    for name in active_terms(config.loss):

        def alone(prediction, name=name):
            terms = total_loss(prediction, labels, config.loss, config.covariance, config.precision).terms
            return jnp.sum(terms[name]), terms[name]

        gradient, values = jax.grad(alone, has_aux=True)(prediction)
        lines += _line(f"loss term {name!r}: value", values)
        for leaf in jax.tree.leaves(gradient):
            lines += _line(f"loss term {name!r}: gradient", leaf)
    return lines or [
        "every term and its gradient by the predictions is finite: the network's own backward pass overflows"
    ]


def _line(what: str, values: jax.Array) -> list[str]:
    bad = np.flatnonzero(~np.isfinite(np.asarray(values)).reshape(values.shape[0], -1).all(axis=1))
    return [f"{what} of scenes {', '.join(map(str, bad))}"] if bad.size else []
