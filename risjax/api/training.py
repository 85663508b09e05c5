"""Training of a network in memory."""

from collections.abc import Callable, Mapping
from typing import Any

from risjax.config import Config
from risjax.config.io import apply_overrides
from risjax.inference.predict.model import Model
from risjax.runs import jax_settings
from risjax.runs.compile_cache import enable_with_warning
from risjax.runs.terminal import Terminal
from risjax.train import fit_heads, fit_network


def fit(config: Config | Mapping[str, Any], *, on_epoch: Callable[[dict[str, Any]], None] | None = None) -> Model:
    """Train a network, and then its posterior heads, in memory: without a run directory and without output.

    The stage ``train`` of the command line does the same with checkpoints, so that an interrupted training resumes.

    Args:
        config: a configuration (`risjax.load_config`), or a dict of dotted settings that differ from the defaults, as
            ``{"physics.scene.snr_db": [0, 20], "train.epochs": 3}``. Its stages are not read.
        on_epoch: called after each epoch with its record: ``epoch``, ``loss``, ``validation`` (``nmse``, ``f1_3d``,
            ``f1_angle``, ``gospa_m``), ``best_epoch``, ``skipped_steps``, ``seconds`` and more. An exception from it
            ends the training.

    Returns:
        The network with the parameters of its best epoch.

    Raises:
        ConfigError: invalid settings, or scenes or a network that cannot be built.
        JaxSettingsError: an environment variable of JAX requires an absent device or strict dtype promotion.
        NonFiniteTraining: a value of a training step is not finite.

    Example:
        >>> import risjax
        >>> model = risjax.fit({"train.epochs": 3}, on_epoch=lambda epoch: print(epoch["loss"]))  # doctest: +SKIP
        >>> model.save("my_network")                                                              # doctest: +SKIP
    """
    if not isinstance(config, Config):
        config = apply_overrides(Config(stages=("train",)), config)
    config = apply_overrides(config, {"stages": ["train"], "weights": None})
    if jax_settings.are_set():
        jax_settings.check_jax_settings()
    enable_with_warning()
    network = fit_network(config, on_epoch=on_epoch)
    return Model("trained", config, fit_heads(config, network, Terminal(quiet=True)))
