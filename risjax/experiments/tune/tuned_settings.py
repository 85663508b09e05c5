"""Settings that the stage ``tune`` may change, and the configurations with each of their values."""

from risjax.config import Config
from risjax.config.errors import ConfigError, Problem, setting_paths, suggest
from risjax.config.io import apply_overrides

DECISION = ("existence", "range_share", "range_window_m")
"""Settings of ``estimator.posterior`` that the decision alone reads."""
_TUNABLE = ("covariance.", "estimator.posterior.", "model.posterior_", "train.posterior.")
_PEAKS_ALONE = "train.posterior.peak_scenes"


def check_tune(config: Config) -> None:
    """Check ``config.tune`` before anything runs.

    Raises:
        ConfigError: with all problems: nothing to compare, no posterior head, unknown paths, settings that need another
            training of the network or that the pipeline does not read, and values that the schema refuses.
    """
    problems = []
    if not config.tune.settings:
        problems.append(Problem("tune.settings", "", "is empty: the stage tune has nothing to compare"))
    if config.train.posterior.scenes == 0:
        text = "got 0, expected scenes to learn from: the stage tune compares settings with a posterior head"
        problems.append(Problem("train.posterior.scenes", "", text))
    for path, values in config.tune.settings.items():
        place = f"tune.settings.{path}"
        refused = _refusal(path)
        if refused is not None:
            problems.append(Problem(place, "", refused))
            continue
        for value in values:
            try:
                apply_overrides(config, {path: value})
            except ConfigError as error:
                texts = "; ".join(problem.text for problem in error.problems)
                problems.append(Problem(place, "", f"{value!r} is refused: {texts}"))
    if problems:
        raise ConfigError(problems)


def _refusal(path: str) -> str | None:
    known = tuple(setting_paths(Config))
    parts = tuple(path.split("."))
    if not any(other[: len(parts)] == parts for other in known):
        close = suggest(parts, known)
        return "no such setting" + (f"; did you mean {' or '.join(close)}?" if close else "")
    if not path.startswith(_TUNABLE):
        return f"got a setting of the training, expected one after the network ({', '.join(_TUNABLE)}...); search it"
    if path == _PEAKS_ALONE:
        return "the whole pipeline does not read this setting"
    return None
