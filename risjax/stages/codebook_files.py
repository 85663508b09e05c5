"""Check of the codebook files of a configuration, before a run directory is made."""

from risjax.config.errors import ConfigError, Problem
from risjax.config.root import Config


def check_codebook_files(config: Config) -> None:
    """Read every codebook of kind ``file``; jax is imported only where there is one.

    Raises:
        ConfigError: files that cannot be read, have another shape, or contain no reflection coefficients.
    """
    named = {"physics.codebook.path": config.physics} | {
        f"evaluate.sources[{index}].physics.codebook.path": source.physics
        for index, source in enumerate(config.evaluate.sources)
        if source.physics is not None
    }
    problems = []
    for path, physics in named.items():
        if physics.codebook.kind == "file":
            from risjax.physics.codebook import codes

            try:
                codes(physics.codebook, physics.array)
            except ValueError as error:
                problems.append(Problem(path, "", str(error)))
    if problems:
        raise ConfigError(problems)
