"""The second stage of training: the posterior head, on candidates that the frozen network proposes.

The network's answers do not change any more, so each scene passes through it once; the head, which is small,
then sees the same candidates many times. A fifth of the scenes is held out and says whether its probabilities
mean what they say.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from risjax.config import Config, ToleranceConfig
from risjax.data.stream import scene_batch
from risjax.estimators.decision import decide_count, range_posterior
from risjax.estimators.evidence import Evidence
from risjax.estimators.grid import field_of_view, to_position
from risjax.keys import Purpose, purpose_key
from risjax.loss.posterior import PosteriorLoss, existence_loss, range_loss
from risjax.metrics import expected_calibration_error, match
from risjax.model import Params
from risjax.model.posterior import Posterior
from risjax.pipeline import make_pipeline, make_posterior
from risjax.run_directory import RunDirectory
from risjax.terminal import Terminal
from risjax.train.loop import load_best
from risjax.train.settings import make_settings
from risjax.types import Sources
from risjax.weights_file import write_weights

_BATCH = 256
_HELD_OUT = 0.25
"""Scenes held out, over the scenes trained on."""
_WEIGHT_DECAY = 1.0
"""Much: of the range there is little to learn beyond the field of view, and a freer head does worse held out."""


class Examples(NamedTuple):
    """Candidates with the truth, a leading axis of scenes S.

    Attributes:
        evidence: of every fit, [S, K, ...].
        weakest: slot of the candidate that is judged in each fit, [S, K].
        real: which candidates of each fit are sources, matched in angle, [S, K, K].
        true_s: 1/r of their sources, [S, K, K].
    """

    evidence: Evidence
    weakest: Int[Array, "S K"]
    real: Bool[Array, "S K K"]
    true_s: Float[Array, "S K K"]


def train_posterior(config: Config, directory: RunDirectory, terminal: Terminal) -> None:
    """Trains the posterior head of a run's network, unless ``train.posterior.scenes`` is 0, and writes it.

    Deterministic; minutes at most, so an interrupted one starts again.
    """
    if config.train.posterior.scenes == 0:
        return
    directory.posterior_path.unlink(missing_ok=True)  # of an earlier network; `load_best` would take it for this one's
    params, report = fit_posterior(config, load_best(config, directory), terminal)
    write_weights(directory.posterior_path, params)
    directory.append_log({"kind": "posterior", **report})
    terminal.say(
        f"posterior: existence {report['existence_nats']:.3f} nats, calibrated to {report['ece']:.3f} over "
        f"{report['candidates']} candidates; range {report['range_nats']:.3f} nats, "
        f"{report['uniform_range_nats']:.3f} without its prior"
    )


def fit_posterior(config: Config, params: Params, terminal: Terminal) -> tuple[dict[str, Any], dict[str, float]]:
    """Trains the posterior head of a trained network.

    Args:
        config: ``train.posterior`` and what the network was trained with.
        params: of the network.
        terminal: where progress is shown.

    Returns:
        The head's parameters, and how it did on the scenes held out: ``existence_nats``, ``range_nats`` and, beside
        it, ``uniform_range_nats`` of a prior that knows only the field of view; ``ece`` of existence over
        ``candidates`` candidates.
    """
    settings = config.train.posterior
    held_out = max(1, round(_HELD_OUT * settings.scenes))
    examples = _collect(config, params, settings.scenes + held_out, terminal)
    train = jax.tree.map(lambda leaf: jnp.asarray(leaf[held_out:]), examples)
    test = jax.tree.map(lambda leaf: jnp.asarray(leaf[:held_out]), examples)
    head = make_posterior(config.physics, config.model)
    features = np.asarray(train.evidence.features)[np.asarray(train.evidence.active)]
    key = purpose_key(config.run.seed, Purpose.POSTERIOR_INIT)
    start = head.init(key, jnp.asarray(features.mean(0)), jnp.asarray(features.std(0)))
    field, threshold = field_of_view(config.physics), config.estimator.posterior.existence

    def losses(posterior: dict[str, Any], batch: Examples) -> PosteriorLoss:
        return _losses(head, posterior, batch, field, threshold)

    fitted = _fit(config, losses, start, train, terminal)
    return fitted, _report(head, losses, start, fitted, test)


def _collect(config: Config, params: Params, scenes: int, terminal: Terminal) -> Examples:
    pipeline = make_pipeline(config.physics, config.precision, config.model, config.estimator)
    size, covariance = min(config.train.batch_size, scenes), make_settings(config).covariance

    @jax.jit
    def propose(params: Params, index: Array) -> tuple[Evidence, Array, Array, Sources]:
        batch = scene_batch(config.physics, config.run.seed, Purpose.POSTERIOR_SCENES, index, size)
        _, effective = pipeline.covariance(params, batch.observation, covariance)
        elimination, evidence, _ = pipeline.propose(batch.observation, effective)
        return evidence, elimination.weakest, to_position(elimination.fits.cosines), batch.truth.sources

    parts = []
    with terminal.progress("posterior: candidates", scenes) as bar:
        for index in range(-(-scenes // size)):
            evidence, weakest, position, sources = jax.device_get(propose(params, jnp.asarray(index)))
            parts.append(_label(evidence, weakest, position, sources, config.evaluate.tolerance))
            bar.advance(min(size, scenes - index * size))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:scenes], *parts)


def _label(evidence: Evidence, weakest: Any, position: Any, sources: Sources, tolerance: ToleranceConfig) -> Examples:
    """Which candidates are sources: each fit is matched with the truth by the metrics' own rule, in angle."""
    scenes, slots = sources.active.shape

    def each(leaf: Any) -> np.ndarray:
        return np.repeat(np.asarray(leaf), slots, axis=0)

    flat = position.reshape(scenes * slots, slots, 3)
    matches = match(
        flat,
        np.asarray(evidence.active).reshape(scenes * slots, slots),
        each(sources.position),
        each(sources.active),
        tolerance,
        gate_range=False,
    )
    pairs = matches.estimate[:, :, None] == np.arange(slots)
    range_m = np.where(each(sources.active), each(sources.position)[..., 2], 1.0)
    true_s = np.einsum("ste,st->se", pairs, 1.0 / range_m)
    return Examples(evidence, weakest, pairs.any(1).reshape(scenes, slots, slots), true_s.reshape(scenes, slots, slots))


def _losses(head: Posterior, posterior: dict[str, Any], batch: Examples, field: Any, threshold: float) -> PosteriorLoss:
    """Existence of the weakest of every fit; ranges in the fit that the head itself would choose."""
    judged = head.apply(posterior, batch.evidence.features, batch.evidence.active)
    held = jnp.any(batch.evidence.active, axis=-1)
    at = batch.weakest[..., None]
    logit = jnp.take_along_axis(judged.existence, at, axis=-1)[..., 0]
    real = jnp.take_along_axis(batch.real, at, axis=-1)[..., 0]
    probability = jax.lax.stop_gradient(jax.nn.sigmoid(logit))
    count = jax.vmap(lambda p, h: decide_count(p, h, threshold))(probability, held)
    index = jnp.maximum(count - 1, 0)

    def chosen(leaf: Array) -> Array:
        return jax.vmap(lambda fits, i: fits[i])(leaf, index)

    likelihood, log_range, mine, true_s = jax.tree.map(
        chosen, (batch.evidence.likelihood, judged.log_range, batch.real, batch.true_s)
    )
    posterior_of = jax.vmap(lambda one, prior: range_posterior(one, prior, field))
    return PosteriorLoss(
        existence_loss(logit, real, held),
        range_loss(posterior_of(likelihood, log_range), true_s, mine & (count > 0)[:, None]),
    )


def _fit(config: Config, losses: Any, start: dict[str, Any], train: Examples, terminal: Terminal) -> dict[str, Any]:
    settings, scenes = config.train.posterior, len(train.weakest)
    size = min(_BATCH, scenes)
    steps = scenes // size
    schedule = optax.cosine_decay_schedule(settings.learning_rate, settings.epochs * steps)
    adamw = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=_WEIGHT_DECAY))
    standardisation = {name: name in ("mean", "scale") for name in start}
    optimizer = optax.chain(adamw, optax.masked(optax.set_to_zero(), standardisation))

    def step(carry: tuple, rows: Array) -> tuple[tuple, Array]:
        params, state, examples = carry
        batch = jax.tree.map(lambda leaf: leaf[rows], examples)
        value, gradient = jax.value_and_grad(lambda p: sum(losses(p, batch)))(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state, examples), value

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: tuple, examples: Examples, index: Array) -> tuple[tuple, Array]:
        order = jax.random.permutation(purpose_key(config.run.seed, Purpose.POSTERIOR_ORDER, index), scenes)
        rows = order[: steps * size].reshape(steps, size)
        (params, opt_state, _), values = jax.lax.scan(step, (*state, examples), rows)
        return (params, opt_state), jnp.mean(values)

    state = jax.tree.map(jnp.copy, (start, optimizer.init(start)))
    with terminal.progress("posterior: training", settings.epochs) as bar:
        for index in range(settings.epochs):
            state, value = epoch(state, train, jnp.asarray(index))
            bar.advance(1, loss=f"{float(value):.3f}")
    return state[0]


def _report(
    head: Posterior, losses: Any, start: dict[str, Any], fitted: dict[str, Any], test: Examples
) -> dict[str, float]:
    held = np.asarray(jnp.any(test.evidence.active, axis=-1))
    judged = head.apply(fitted, test.evidence.features, test.evidence.active)
    at = test.weakest[..., None]
    probability = np.asarray(jax.nn.sigmoid(jnp.take_along_axis(judged.existence, at, axis=-1)[..., 0]))
    real = np.asarray(jnp.take_along_axis(test.real, at, axis=-1)[..., 0])
    measured = jax.jit(losses)(fitted, test)
    uniform = {**fitted, "range": start["range"]}
    return {
        "existence_nats": float(measured.existence),
        "range_nats": float(measured.range),
        "uniform_range_nats": float(jax.jit(losses)(uniform, test).range),
        "ece": expected_calibration_error(probability[held], real[held]),
        "candidates": int(held.sum()),
    }
