"""Second stage of training: the posterior heads, on candidates of the frozen network.

This module trains the head for candidates; `risjax.train.peak_head` trains the one for the spectrum's peaks, and
`risjax.train.heads` contains what both have in common.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from risjax.config import Config, ToleranceConfig
from risjax.config.estimator import PosteriorConfig
from risjax.detection.candidate_features import CandidateFeatures
from risjax.detection.decision import range_posterior
from risjax.detection.posterior_decision import decide_by_posterior
from risjax.linalg import LowRankCovariance
from risjax.loss.posterior import PosteriorLoss, existence_loss, range_loss
from risjax.metrics.matching import match
from risjax.model import Params
from risjax.model.posterior import Posterior
from risjax.pipeline import PEAKS, POSTERIOR, Programs, make_posterior
from risjax.runs.compiler_options import run_once
from risjax.runs.run_directory import RunDirectory
from risjax.runs.safetensors_io import read_weights, write_weights
from risjax.runs.terminal import Terminal
from risjax.spectral.grid import Field, field_of_view
from risjax.train.checkpoint import digest
from risjax.train.heads import calibration, collect, fit_head, positions, split
from risjax.train.loop import load_best
from risjax.train.peak_head import fit_peaks
from risjax.types import Scene, Sources

_WEIGHT_DECAY, _DECAYED_SCENES = 1.0, 8192
"""Weight decay at up to so many scenes. It is large since few scenes teach little of the range beyond the field of
view, and a head with less decay scores worse on scenes held out; it falls as the number of scenes grows."""
_DECIDED_AT_ONCE = 256
"""Scenes. A range is decided from every pair of points of its posterior; for all scenes held out these would fill the
memory."""


class Examples(NamedTuple):
    """Candidates with the truth, a leading axis of scenes S.

    Attributes:
        features: of every fit, [S, K, ...].
        weakest: slot of the candidate that is judged in each fit, [S, K].
        real: which candidates of each fit are sources, matched in angle, [S, K, K].
        true_s: 1/r of their sources, [S, K, K].
    """

    features: CandidateFeatures
    weakest: Int[Array, "S K"]
    real: Bool[Array, "S K K"]
    true_s: Float[Array, "S K K"]


def train_posterior(config: Config, directory: RunDirectory, terminal: Terminal) -> None:
    """Train the posterior heads of a run's network, unless ``train.posterior.scenes`` is 0, and write them.

    Deterministic. An interrupted training starts again with the head that was unfinished.
    """
    if config.train.posterior.scenes == 0:
        return
    directory.posterior_path.unlink(missing_ok=True)  # (an earlier network's, which `load_best` would add to this one)
    network = load_best(config, directory)
    params, report = _first_head(config, directory, network, terminal)
    of_peaks, report_of_peaks = fit_peaks(config, network, terminal)
    write_weights(directory.posterior_path, {POSTERIOR: params, PEAKS: of_peaks})
    _kept(directory).unlink()
    directory.append_log({"kind": "posterior", **report})
    directory.append_log({"kind": "peaks", **report_of_peaks})
    terminal.say(
        f"posterior: existence {report['existence_nats']:.3f} nats, calibrated to {report['ece']:.3f} over "
        f"{report['candidates']} candidates; range {report['range_nats']:.3f} nats, "
        f"{report['uniform_range_nats']:.3f} without its prior\n"
        f"peaks: existence {report_of_peaks['existence_nats']:.3f} nats, calibrated to {report_of_peaks['ece']:.3f} "
        f"over {report_of_peaks['peaks']} peaks"
    )


def fit_heads(config: Config, network: Params, terminal: Terminal) -> Params:
    """Return the parameters of a network with those of its posterior heads, unless ``train.posterior.scenes`` is 0."""
    if config.train.posterior.scenes == 0:
        return network
    candidates, _ = fit_posterior(config, network, terminal)
    peaks, _ = fit_peaks(config, network, terminal)
    return {**network, POSTERIOR: candidates, PEAKS: peaks}


def _kept(directory: RunDirectory) -> Path:
    """Return the file of the head for candidates, used until the other head is trained as well."""
    return directory.posterior_path.with_suffix(".part.safetensors")


def _first_head(
    config: Config, directory: RunDirectory, network: Params, terminal: Terminal
) -> tuple[dict[str, Any], dict[str, float]]:
    """Call `fit_posterior`, or return its result for this network from before an interruption."""
    path, mark = _kept(directory), digest(network)
    if path.exists():
        kept, metadata = read_weights(path)
        if metadata["network"] == mark:
            return kept[POSTERIOR], json.loads(metadata["report"])
    params, report = fit_posterior(config, network, terminal)
    write_weights(path, {POSTERIOR: params}, {"network": mark, "report": json.dumps(report)})
    return params, report


def fit_posterior(config: Config, params: Params, terminal: Terminal) -> tuple[dict[str, Any], dict[str, float]]:
    """Train the head for candidates, for a trained network.

    Args:
        config: ``train.posterior`` and what the network was trained with.
        params: of the network.
        terminal: shows progress.

    Returns:
        The head's parameters, and its scores on the scenes held out: ``existence_nats``, ``range_nats`` and, for
        comparison, ``uniform_range_nats`` of a uniform prior over the field of view; ``ece`` of existence over
        ``candidates`` candidates.
    """
    train, test = split(config.train.posterior.scenes, _collect(config, params, terminal))
    head = make_posterior(config.physics, config.model)
    field, settings = field_of_view(config.physics), config.estimator.posterior

    def losses(posterior: dict[str, Any], batch: Examples, judge: dict[str, Any] | None = None) -> PosteriorLoss:
        return _losses(head, posterior, batch, field, settings, judge)

    start, fitted = fit_head(
        config,
        head,
        lambda posterior, batch: sum(losses(posterior, batch)),
        train,
        (train.features.values, train.features.active),
        terminal,
        weight_decay=_WEIGHT_DECAY * min(1.0, _DECAYED_SCENES / config.train.posterior.scenes),
    )
    return fitted, _report(head, losses, start, fitted, test)


def _collect(config: Config, params: Params, terminal: Terminal) -> Examples:
    def propose(
        programs: Programs, batch: Scene, effective: LowRankCovariance
    ) -> tuple[CandidateFeatures, Array, np.ndarray, Sources]:
        proposals = programs.propose(batch.observation, effective)
        elimination = proposals.elimination
        return proposals.features, elimination.weakest, positions(elimination.fits.cosines), batch.truth.sources

    def label(proposed: tuple[CandidateFeatures, Any, Any, Sources]) -> Examples:
        return _label(*proposed, config.evaluate.tolerance)

    scenes = config.train.posterior.scenes
    return collect(config, params, scenes, propose, label, terminal, "posterior: candidates")


def _label(
    features: CandidateFeatures, weakest: Any, position: Any, sources: Sources, tolerance: ToleranceConfig
) -> Examples:
    """Label the candidates that are sources: each fit is matched with the truth in angle, by the metrics' rule."""
    scenes, slots = sources.active.shape

    def each(leaf: Any) -> np.ndarray:
        return np.repeat(np.asarray(leaf), slots, axis=0)

    flat = position.reshape(scenes * slots, slots, 3)
    matches = match(
        flat,
        np.asarray(features.active).reshape(scenes * slots, slots),
        each(sources.position),
        each(sources.active),
        tolerance,
        gate_range=False,
    )
    pairs = matches.estimate[:, :, None] == np.arange(slots)
    range_m = np.where(each(sources.active), each(sources.position)[..., 2], 1.0)
    true_s = np.einsum("ste,st->se", pairs, 1.0 / range_m)
    return Examples(features, weakest, pairs.any(1).reshape(scenes, slots, slots), true_s.reshape(scenes, slots, slots))


def _losses(
    head: Posterior,
    posterior: dict[str, Any],
    batch: Examples,
    field: Field,
    settings: PosteriorConfig,
    judge: dict[str, Any] | None,
) -> PosteriorLoss:
    """Existence of the weakest of every fit; ranges in the fit that ``judge`` would choose, the head itself if None."""
    judged = head.apply(posterior, batch.features.values, batch.features.active)
    parameters = jax.lax.stop_gradient(posterior if judge is None else judge)
    deciding = head.apply(parameters, batch.features.values, batch.features.active)
    decide = partial(decide_by_posterior, field=field, settings=settings)
    count = jax.lax.map(
        lambda scene: decide(*scene).count,
        (batch.weakest, batch.features, deciding.existence, deciding.log_range),
        batch_size=_DECIDED_AT_ONCE,
    )
    index = jnp.maximum(count - 1, 0)

    def chosen(leaf: Array) -> Array:
        return jax.vmap(lambda fits, i: fits[i])(leaf, index)

    likelihood, log_range, is_source, true_s = jax.tree.map(
        chosen, (batch.features.likelihood, judged.log_range, batch.real, batch.true_s)
    )
    posterior_of = jax.vmap(lambda single, prior: range_posterior(single, prior, field))
    return PosteriorLoss(
        existence_loss(*_weakest(judged.existence, batch)),
        range_loss(posterior_of(likelihood, log_range), true_s, is_source & (count > 0)[:, None]),
    )


def _weakest(
    existence: Float[Array, "S K K"], batch: Examples
) -> tuple[Float[Array, "S K"], Bool[Array, "S K"], Bool[Array, "S K"]]:
    """Logit of the weakest candidate of every fit, whether it is a source, and whether the fit holds candidates."""
    at = batch.weakest[..., None]
    logit = jnp.take_along_axis(existence, at, axis=-1)[..., 0]
    real = jnp.take_along_axis(batch.real, at, axis=-1)[..., 0]
    return logit, real, jnp.any(batch.features.active, axis=-1)


def _report(
    head: Posterior, losses: Any, start: dict[str, Any], fitted: dict[str, Any], test: Examples
) -> dict[str, float]:
    def weakest(posterior: dict[str, Any], examples: Examples) -> tuple[Array, Array, Array]:
        judged = head.apply(posterior, examples.features.values, examples.features.active)
        return _weakest(judged.existence, examples)

    logit, real, exists = jax.device_get(jax.jit(weakest, compiler_options=run_once())(fitted, test))
    compiled = jax.jit(losses, compiler_options=run_once())
    measured = compiled(fitted, test)
    uniform = {**fitted, "range": start["range"]}
    return {
        "existence_nats": float(measured.existence),
        "range_nats": float(measured.range),
        "uniform_range_nats": float(compiled(uniform, test, fitted).range),
        **calibration(logit, real, exists, "candidates"),
    }
