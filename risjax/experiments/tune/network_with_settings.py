"""Estimates of one trained network with other settings after it, on scenes that are the same for all of them.

The work has three stages, and a change repeats only those that read it: candidates of the scenes, the posterior head,
which learns from candidates of further scenes, and the decision, whose settings are traced.
"""

from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import Config
from risjax.config.io import apply_overrides
from risjax.detection.posterior_decision import DecisionSettings
from risjax.detection.proposals import Proposals
from risjax.experiments.evaluate import EvaluationScenes
from risjax.experiments.tune.tuned_settings import DECISION
from risjax.model import Params
from risjax.pipeline import HEADS, POSTERIOR, Pipeline, compiled_pipeline
from risjax.runs.terminal import Terminal
from risjax.train.posterior import fit_posterior
from risjax.train.settings import make_settings
from risjax.types import Estimates


class NetworkWithSettings:
    """One trained network, measured with the settings of any configuration that differs after the network only.

    Args:
        config: of the run; the decision settings under which every head is trained.
        params: of the network; heads among them are left out.
        scenes: the scenes of all comparisons.
        terminal: shows progress.
    """

    def __init__(self, config: Config, params: Params, scenes: EvaluationScenes, terminal: Terminal):
        self._decision = {f"estimator.posterior.{name}": getattr(config.estimator.posterior, name) for name in DECISION}
        self._network = {group: leaves for group, leaves in params.items() if group not in HEADS}
        self._scenes, self._terminal = scenes, terminal
        self._proposals: tuple[Hashable, list[Proposals]] = (None, [])
        self._heads: dict[Hashable, Params] = {}
        self._decide: dict[Hashable, Any] = {}

    def estimates(self, config: Config) -> Estimates:
        """Return the estimates on all scenes, host arrays, with a head trained for these settings."""
        settings = DecisionSettings(*(jnp.float32(getattr(config.estimator.posterior, name)) for name in DECISION))
        config = apply_overrides(config, self._decision)
        head = self._head(config)
        key = config.physics, config.model, config.estimator
        if key not in self._decide:
            self._decide[key] = jax.jit(Pipeline(*key[:1], config.precision, *key[1:]).decide)
        found = [jax.device_get(self._decide[key](head, part, settings)) for part in self._candidates(config)]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(self._scenes.sources.active)], *found)

    def _head(self, config: Config) -> Params:
        key = config.covariance, config.estimator, config.model, config.train.posterior
        if key not in self._heads:
            self._heads[key] = {POSTERIOR: fit_posterior(config, self._network, self._terminal)[0]}
        return self._heads[key]

    def _candidates(self, config: Config) -> list[Proposals]:
        """The candidates of the scenes, of the latest settings; the last batch is filled up."""
        key = config.covariance, config.estimator
        if self._proposals[0] == key:
            return self._proposals[1]
        programs = compiled_pipeline(config.physics, config.precision, config.model, config.estimator)
        # Batches have the size of those that the head's examples come from: they share the program.
        covariance, size = make_settings(config).covariance, config.train.batch_size
        num_scenes = len(self._scenes.sources.active)
        parts = []
        with self._terminal.progress("tune: candidates", num_scenes) as bar:
            for start in range(0, num_scenes, size):
                rows = np.minimum(np.arange(start, start + size), num_scenes - 1)
                batch = jax.tree.map(lambda leaf, rows=rows: jnp.asarray(leaf[rows]), self._scenes.observation)
                _, effective = programs.covariance(self._network, batch, covariance)
                parts.append(programs.propose(batch, effective))
                bar.advance(min(size, num_scenes - start))
        self._proposals = key, parts
        return parts
