"""The whole pipeline as a pure function."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from risjax.config import Config
from risjax.config.io import apply_overrides
from risjax.inference.predict.programs import pipeline_of
from risjax.model import Params
from risjax.types import Estimates, Observation


def make_pipeline(config: Config | Mapping[str, Any]) -> Callable[[Params, Observation], Estimates]:
    """Return the pipeline of a configuration as a pure function, to jit, vmap, differentiate or use in a program.

    Scene -> network -> covariance -> candidates -> joint fits -> posterior -> sources; see `risjax.pipeline`. Its
    arguments are not checked: `Model.localise` checks measurements first.

    The estimates are differentiable by the snapshots, the channel and the parameters, in forward and in reverse mode.
    Positions have the derivatives of the optimum of the likelihood, by the implicit function theorem
    (`risjax.estimators.joint_ml`). These hold where the fits have reached it; for close sources, raise
    ``estimator.posterior.iterations``. The choice and the order of the reported sources are piecewise constant: a
    derivative holds for sources that a small change of the data neither adds nor removes. Empty slots have
    gradient zero.

    Args:
        config: of a network, as ``model.config``, or a dict of dotted settings that differ from the defaults.

    Returns:
        A function of the parameters, as ``model.params``, and of an observation of one scene (``snapshots`` [L, M],
        ``channel`` [M, N], ``codes`` [L, N], complex64) or of several with a leading axis S, to `Estimates`: K_max
        slots, strongest source first, with positions in rad, rad and m. A batch runs faster through the leading axis
        than through `jax.vmap` of one scene.

    Raises:
        ConfigError: invalid settings.
        ValueError: a network that needs constant symbols, for symbols that change from snapshot to snapshot.

    Example:
        >>> import jax, risjax
        >>> model, scenes = risjax.load("default"), risjax.simulate("default", 2, key=0)     # doctest: +SKIP
        >>> run = jax.jit(risjax.make_pipeline(model.config))                                # doctest: +SKIP
        >>> run(model.params, scenes.observation).position                                   # doctest: +SKIP
    """
    if not isinstance(config, Config):
        config = apply_overrides(Config(stages=("train",)), config)
    of_batch = pipeline_of(config)

    def run(params: Params, observation: Observation) -> Estimates:
        if observation.snapshots.ndim == 3:
            return of_batch(params, observation)[0]
        found, _ = of_batch(params, jax.tree.map(lambda leaf: leaf[None], observation))
        return jax.tree.map(lambda leaf: leaf[0], found)

    return run
