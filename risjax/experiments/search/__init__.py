"""The search: any setting by dotted path, judged by the metric that is reported, durable, by many workers."""

from risjax.experiments.search.record import TrialRecord
from risjax.experiments.search.space import check_space
from risjax.experiments.search.storage import StorageError
from risjax.experiments.search.study import SearchError, SearchOutcome, open_study, search

__all__ = [
    "SearchError",
    "SearchOutcome",
    "StorageError",
    "TrialRecord",
    "check_space",
    "open_study",
    "search",
]
