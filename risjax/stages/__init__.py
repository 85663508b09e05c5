"""The stages of a run, in order, each one resumable: what ``run.py`` does with a valid configuration.

A stage that is done is not repeated; one that was interrupted goes on by itself (the study knows its trials,
the training its checkpoints). Where a run searches, everything after the search is done with the winner: the
run's configuration with the best trial's values in place.
"""

from risjax.stages.run import run_stages
from risjax.stages.table import StageError

__all__ = ["StageError", "run_stages"]
