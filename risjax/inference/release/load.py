"""Loading of trained parameters: of a release, of another run, or of this run's checkpoints."""

from functools import lru_cache

from risjax.config import Config
from risjax.config.errors import ConfigError
from risjax.config.io import differences, from_yaml
from risjax.config.weights import WEIGHTS_NAME, TrainedNetwork, find_weights, no_weights_text
from risjax.model import Params, build
from risjax.pipeline import PEAKS, POSTERIOR, make_peak_posterior, make_posterior
from risjax.precision import make_policy
from risjax.runs.run_directory import RunDirectory
from risjax.runs.safetensors_io import WeightsError, flat_shapes, read_weights

_OF_THE_NETWORK = ("physics.array.", "physics.scene.max_sources", "model.")
"""Settings that must be those of the training: they define the network's shapes and the manifold that it learned."""


def load_params(config: Config, directory: RunDirectory | None) -> Params:
    """Parameters that a configuration names.

    Args:
        config: ``weights`` names them; null takes the best checkpoint of ``directory``.
        directory: of the run.

    Raises:
        FileNotFoundError: no parameters.
        CheckpointError: the run's checkpoints are damaged.
        WeightsError: the weights are damaged, or were made for another array, manifold or network.
    """
    if config.weights is None:
        if directory is None:
            raise FileNotFoundError("weights is null and there is no run directory to take them from")
        return _best_checkpoint(config, directory)
    found = find_weights(config.weights)
    if found is None:
        raise FileNotFoundError(no_weights_text(config.weights))
    trained = trained_config(found)
    _refuse_mismatch(config, trained, found)
    if not found.is_released:
        return _best_checkpoint(trained, RunDirectory(found.folder))
    params, _ = read_weights(found.folder / WEIGHTS_NAME)
    _refuse_other_shapes(config, params, found)
    return make_policy(config.precision).cast_to_params(params)


def _best_checkpoint(config: Config, directory: RunDirectory) -> Params:
    from risjax.train.loop import load_best  # 0.8 s of orbax and optax, which released networks do not need

    return load_best(config, directory)


def trained_config(found: TrainedNetwork) -> Config:
    """Configuration of the training.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        return _parsed(found.config_path.read_text(encoding="utf-8"))
    except (ConfigError, UnicodeDecodeError) as error:
        raise WeightsError(f"{found.config_path} cannot be read by this version of risjax: {error}") from error


@lru_cache(maxsize=8)
def _parsed(text: str) -> Config:
    """`from_yaml`, once for equal texts: a loaded network needs its configuration twice."""
    return from_yaml(text)


def _refuse_mismatch(config: Config, trained: Config, found: TrainedNetwork) -> None:
    wrong = {name: values for name, values in differences(trained, config).items() if name.startswith(_OF_THE_NETWORK)}
    if wrong:
        lines = [f"  {name}: {was} there, {now} here" for name, (was, now) in wrong.items()]
        raise WeightsError(
            f"the weights in {found.folder} were trained for another array or network:\n"
            + "\n".join(lines)
            + "\nleave these settings out (they come with the weights), or train a network for them"
        )


def _refuse_other_shapes(config: Config, params: Params, found: TrainedNetwork) -> None:
    """Refuse parameters whose leaves differ from those of the network and its heads."""
    like = build(config.physics.array, config.model, config.precision).shapes
    heads = {POSTERIOR: make_posterior(config.physics, config.model), PEAKS: make_peak_posterior(config.model)}
    like = like | {name: head.shapes for name, head in heads.items() if name in params}
    expected, held = flat_shapes(like), flat_shapes(params)
    of_network = {name: shape for name, shape in held.items() if name.split(".")[0] in like}
    wrong = [name for name in {**expected, **of_network} if expected.get(name) != of_network.get(name)]
    if wrong:
        lines = [
            f"  {name}: {_text(held.get(name))} in the file, {_text(expected.get(name))} expected" for name in wrong[:5]
        ]
        more = [f"  and {len(wrong) - 5} more"] if len(wrong) > 5 else []
        raise WeightsError("\n".join([f"{found.folder / WEIGHTS_NAME} does not fit the network:", *lines, *more]))


def _text(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(list(shape))
