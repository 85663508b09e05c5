"""Training of the head that separates the peaks of the learned spectrum into sources and side lobes or ghosts."""

from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from risjax.config import Config, ToleranceConfig
from risjax.linalg import LowRankCovariance
from risjax.loss.posterior import existence_loss
from risjax.metrics.matching import match
from risjax.model import Params
from risjax.pipeline import Programs, make_peak_posterior
from risjax.runs.compiler_options import run_once
from risjax.runs.terminal import Terminal
from risjax.spectral.peak_search import Peaks
from risjax.train.heads import calibration, collect, fit_head, positions, split
from risjax.types import Scene, Sources

_WEIGHT_DECAY = 0.1


class PeakExamples(NamedTuple):
    """Peaks with the truth, a leading axis of scenes S.

    Attributes:
        features: their evidence, [S, J, F].
        alive: which slots hold a peak, [S, J].
        real: which peaks are sources, matched in angle, [S, J].
    """

    features: Float[Array, "S J F"]
    alive: Bool[Array, "S J"]
    real: Bool[Array, "S J"]


def fit_peaks(config: Config, params: Params, terminal: Terminal) -> tuple[dict[str, Any], dict[str, float]]:
    """Train the head for the spectrum's peaks, for a trained network.

    Args:
        config: ``train.posterior`` and what the network was trained with.
        params: of the network.
        terminal: shows progress.

    Returns:
        The head's parameters, and its scores on the scenes held out: ``existence_nats``, and ``ece`` over ``peaks``
        peaks.
    """
    scenes = min(config.train.posterior.scenes, config.train.posterior.peak_scenes)
    train, test = split(scenes, _collect(config, params, scenes, terminal))
    head = make_peak_posterior(config.model)

    def loss(posterior: dict[str, Any], batch: PeakExamples) -> Array:
        judged = head.apply(posterior, batch.features, batch.alive)
        return existence_loss(judged.existence, batch.real, batch.alive)

    _, fitted = fit_head(config, head, loss, train, (train.features, train.alive), terminal, weight_decay=_WEIGHT_DECAY)
    judged = jax.jit(head.apply, compiler_options=run_once())(fitted, test.features, test.alive)
    logit = jax.device_get(judged.existence)
    return fitted, {
        "existence_nats": float(jax.jit(loss, compiler_options=run_once())(fitted, test)),
        **calibration(logit, np.asarray(test.real), np.asarray(test.alive), "peaks"),
    }


def _collect(config: Config, params: Params, scenes: int, terminal: Terminal) -> PeakExamples:
    def propose(programs: Programs, batch: Scene, effective: LowRankCovariance) -> tuple[Peaks, Array, Sources]:
        peaks, features = programs.peaks(batch.observation, effective)
        return peaks, features, batch.truth.sources

    def label(proposed: tuple[Peaks, Any, Sources]) -> PeakExamples:
        return _label(*proposed, config.evaluate.tolerance)

    return collect(config, params, scenes, propose, label, terminal, "posterior: peaks")


def _label(peaks: Peaks, features: Any, sources: Sources, tolerance: ToleranceConfig) -> PeakExamples:
    """Label the peaks that are sources: those matched with the truth in angle, by the rule of the metrics."""
    position = positions(peaks.cosines)
    alive = np.asarray(peaks.alive)
    truth = np.asarray(sources.position), np.asarray(sources.active)
    matches = match(position, alive, *truth, tolerance, gate_range=False)
    return PeakExamples(features, peaks.alive, cast(Any, matches.taken(alive.shape[1])))
