"""``limit.*``: the Bayes limit, sampled by brute force."""

from typing import Annotated

from pydantic import Field

from risjax.registry.section import PositiveInt, Section


class LimitConfig(Section):
    """Bayes limit: the best metrics of any estimator on the first entry of ``evaluate.sources``."""

    scenes: PositiveInt = 64
    """Most scenes that are sampled."""
    particles: Annotated[int, Field(ge=16)] = 512
    """Draws from the posterior of each scene."""
    moves: PositiveInt = 24
    """Moves of every particle at each temperature."""
    last_moves: PositiveInt = 96
    """Moves of every particle once the posterior is reached."""
    kept_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.6
    """Effective share of the particles that a step of temperature leaves; larger is slower and more reliable."""
    replicates: Annotated[int, Field(ge=2)] = 2
    """Independent runs a scene; their agreement measures convergence."""
