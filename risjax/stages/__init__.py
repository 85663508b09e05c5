"""The stages of a run, in order; ``run.py`` runs those of a valid configuration.

A finished stage is not repeated; an interrupted one resumes from its study, its checkpoints or its parts. After a
search, all later stages use the winner: the run's configuration with the best trial's values in place.
"""

from risjax.stages.run import run_stages
from risjax.stages.table import StageError

__all__ = ["StageError", "run_stages"]
