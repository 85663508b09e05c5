"""Objects that register a part of risjax or of another package; none imports its implementation."""

import re
from dataclasses import dataclass
from typing import Literal

from risjax.registry.section import Section
from risjax.registry.term import TermConfig

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PLACE = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A registered part.

    Attributes:
        name: as configurations have it: lower-case letters, digits and underscores.
        implementation: its place as ``module:attribute``, imported when it is needed.

    Raises:
        ValueError: an invalid name or place.
    """

    name: str
    implementation: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"got the name {self.name!r}, expected lower-case letters, digits and underscores")
        if not _PLACE.fullmatch(self.implementation):
            raise ValueError(f"got the implementation {self.implementation!r}, expected module:attribute")


@dataclass(frozen=True, kw_only=True)
class LossTerm(Part):
    """A term of the loss; its implementation is a `risjax.loss.Term`.

    Attributes:
        settings: section ``loss.<name>``; the fields that it adds to those of `TermConfig` are of type float.
        weight: default of ``loss.<name>.weight``.
        torch: place of the same term in PyTorch, for the stage ``compare``: a function of
            `risjax.experiments.torch_baseline.terms.TermInputs` and of the same numbers, which returns [B]; without it
            that stage refuses the term.
    """

    settings: type[TermConfig] = TermConfig
    weight: float = 0.0
    torch: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        other = [name for name, field in self.settings.model_fields.items() if field.annotation is not float]
        if other:
            raise ValueError(
                f"got the settings {', '.join(other)} of {self.settings.__name__}, expected fields of type float: the "
                "settings of a term are arguments of the compiled program"
            )


@dataclass(frozen=True, kw_only=True)
class Estimator(Part):
    """A method of ``evaluate.methods``; its implementation is a `risjax.estimators.SnapshotEstimator` if it reads
    snapshots, and a `risjax.estimators.CovarianceEstimator` if it reads a covariance.

    Attributes:
        reads: its input: ``snapshots``; the sample ``covariance``; the ``network``, for methods of a trained one; the
            ``truth``, for oracles. A package can add the first two.
        needs_common_field: it needs constant symbols, one coherent field in all snapshots.
        knows_count: it is given the true number of sources, too.
        grid: setting of its search grid, below ``estimator``.
        in_sequence: scenes are estimated one after the other, for methods that need much memory a scene.
        settings: section ``estimator.<name>``; None if there is none.
    """

    reads: Literal["snapshots", "covariance", "network", "truth"]
    needs_common_field: bool = False
    knows_count: bool = False
    grid: str = "grid"
    in_sequence: bool = False
    settings: type[Section] | None = None


@dataclass(frozen=True, kw_only=True)
class Simulator(Part):
    """A simulator of scenes, chosen by ``physics.simulator``; its implementation is a `risjax.physics.scene.DrawScene`.

    Attributes:
        settings: section ``physics.<name>``; None if there is none.
    """

    settings: type[Section] | None = None


@dataclass(frozen=True, kw_only=True)
class DesignCriterion(Part):
    """A criterion of a code design, chosen by ``physics.codebook.design.criterion``; its implementation is a
    `risjax.physics.code_design.criteria.Criterion`."""
