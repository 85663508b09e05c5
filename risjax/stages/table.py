"""Table of the stages: the functions of each, and the exceptions that are not bugs.

Functions and exceptions are listed by name, so that a stage imports only its own modules: a run without remaining
stages ends at once, and a missing optional package concerns only the stages that need it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from risjax.config.root import Config
from risjax.config.root import Stage as Name
from risjax.registry import find
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal


class StageError(Exception):
    """A stage that could not be finished; the message contains the reason. Results of earlier stages are kept."""


class Stage(NamedTuple):
    """One stage; names are ``module:attribute``.

    Attributes:
        name: as a configuration has it.
        work: functions, called in this order. A function that checks something returns False if the check fails; other
            results are ignored.
        refusals: exceptions whose message is sufficient for a user.
        extras: optional packages, with the advice if one is missing; "" if the exception contains the advice.
        takes: names of the functions' arguments.
    """

    name: Name
    work: tuple[str, ...]
    refusals: tuple[str, ...] = ()
    extras: Mapping[str, str] = MappingProxyType({})
    takes: tuple[str, ...] = ("config", "directory", "terminal")

    def __call__(self, config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
        """Run the functions; return whether no check failed.

        Raises:
            StageError: one of the refusals, or a missing optional package.
        """
        given = {"config": config, "directory": directory, "terminal": terminal}
        try:
            results = [find(place)(*(given[name] for name in self.takes)) for place in self.work]
        except ModuleNotFoundError as error:
            if error.name is None or error.name not in self.extras:
                raise
            raise StageError(f"{self.name}: {self.extras[error.name] or error}") from error
        except Exception as error:
            if not isinstance(error, tuple(map(find, self.refusals))):
                raise
            raise StageError(f"{self.name}: {error}") from error
        return all(result is not False for result in results)


_NO_FILE = "builtins:FileNotFoundError"
_NO_NETWORK = ("risjax.train:CheckpointError", "risjax.inference.release:WeightsError", _NO_FILE)

_TABLE = (
    Stage("simulate", ("risjax.data.simulate:simulate",), ("risjax.data.simulate:SceneDirectoryError",)),
    Stage(
        "search",
        ("risjax.experiments.search.study:search",),
        ("risjax.experiments.search.study:SearchError", "risjax.experiments.search.storage:StorageError"),
    ),
    Stage(
        "train",
        ("risjax.train:train", "risjax.train:train_posterior"),
        ("risjax.train:NonFiniteTraining", "risjax.train:CheckpointError"),
        extras={"tensorboardX": ""},
    ),
    Stage("tune", ("risjax.experiments.tune.stage:tune",), ("risjax.train:CheckpointError", _NO_FILE)),
    Stage(
        "ablate",
        ("risjax.experiments.ablate.stage:ablate",),
        ("risjax.experiments.ablate.stage:AblateError", "risjax.train:CheckpointError", _NO_FILE),
    ),
    Stage("evaluate", ("risjax.experiments.evaluate:evaluate",), _NO_NETWORK),
    Stage("limit", ("risjax.experiments.bayes_limit:limit",), ("risjax.experiments.bayes_limit:LimitError",)),
    Stage(
        "design",
        ("risjax.experiments.code_design:design",),
        (*_NO_NETWORK, "risjax.experiments.code_design:DesignError"),
    ),
    Stage("audit", ("risjax.experiments.audit:run_audit",)),
    Stage(
        "compare",
        ("risjax.experiments.compare:compare",),
        ("risjax.experiments.compare.stage:CompareError",),
        extras={"torch": "PyTorch is not installed; pip install -e '.[torch]'"},
    ),
    Stage("report", ("risjax.report:write_report",), takes=("directory",)),
    Stage("verify", ("risjax.stages.verify:verify",)),
    Stage("release", ("risjax.inference.release:release",), _NO_NETWORK),
    Stage(
        "predict",
        ("risjax.inference.predict:predict",),
        (*_NO_NETWORK, "risjax.data.layouts:SceneFileError", "risjax.inference.predict:MeasurementError"),
    ),
    Stage("export", ("risjax.inference.export:export",), _NO_NETWORK),
)

STAGES: dict[str, Callable[[Config, RunDirectory, Terminal], bool]] = {stage.name: stage for stage in _TABLE}
"""Every stage, by its name."""

READ_LATER = MappingProxyType({"search": "search/trials.json", "tune": "tune.json", "evaluate": "metrics.json"})
"""The file of a stage that later stages read. A finished stage without it runs again, and so writes it again."""
