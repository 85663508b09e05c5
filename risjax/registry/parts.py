"""Objects that register a part of risjax or of another package; none imports its implementation."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import create_model

from risjax.registry.section import RegistryError, Section
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
class PartWithSection(Part):
    """A part whose settings, if it has any, are a section of its name.

    Attributes:
        settings: class of the section; None if there is none.
    """

    settings: type[Section] | None = None


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
class Estimator(PartWithSection):
    """A method of ``evaluate.methods``; its implementation is a `risjax.estimators.SnapshotEstimator` if it reads
    snapshots, and a `risjax.estimators.CovarianceEstimator` if it reads a covariance.

    Attributes:
        reads: its input: ``snapshots``; the sample ``covariance``; the ``network``, for methods of a trained one; the
            ``truth``, for oracles. A package can add the first two.
        needs_common_field: it needs constant symbols, one coherent field in all snapshots.
        knows_count: it is given the true number of sources, too.
        grid: setting of its search grid, below ``estimator``.
        in_sequence: scenes are estimated one after the other, for methods that need much memory a scene.
        settings: section ``estimator.<name>``.
    """

    reads: Literal["snapshots", "covariance", "network", "truth"]
    needs_common_field: bool = False
    knows_count: bool = False
    grid: str = "grid"
    in_sequence: bool = False


@dataclass(frozen=True, kw_only=True)
class Simulator(PartWithSection):
    """A simulator of scenes, chosen by ``physics.simulator``; its implementation is a `risjax.physics.scene.DrawScene`.

    Attributes:
        settings: section ``physics.<name>``.
    """


@dataclass(frozen=True, kw_only=True)
class Channel(PartWithSection):
    """A simulator of the channel H from the surface to the base station, chosen by ``physics.channel.kind``; its
    implementation is a `risjax.physics.channel.DrawChannel`.

    Attributes:
        settings: section ``physics.channel.<name>``.
    """


@dataclass(frozen=True, kw_only=True)
class Codebook(PartWithSection):
    """Phase codes, chosen by ``physics.codebook.kind``; the implementation is a `risjax.physics.codebook.CommonCodes`,
    or a `risjax.physics.codebook.CodesOfScene` if it makes different codes for every scene.

    Attributes:
        each_scene: it makes different codes for every scene, at random or for the channel.
        settings: section ``physics.codebook.<name>``.
    """

    each_scene: bool = False


@dataclass(frozen=True, kw_only=True)
class Encoder(PartWithSection):
    """A network, chosen by ``model.encoder``; its implementation is a `risjax.model.encoder.NetworkParts`.

    Attributes:
        needs_common_field: it needs constant symbols, one coherent field in all snapshots, and more measurements than
            elements of the surface.
        needs_patches: it needs a ``model.patch`` that divides both sides of the surface.
        has_fixed_sizes: a trained network takes the numbers of snapshots and antennas of its training alone.
        settings: section ``model.<name>``.
        torch: place of the same network in PyTorch, a `risjax.experiments.torch_baseline.features.TorchNetworkParts`,
            for the stage ``compare``; without it that stage refuses the encoder.
    """

    needs_common_field: bool = True
    needs_patches: bool = True
    has_fixed_sizes: bool = False
    torch: str | None = None


@dataclass(frozen=True, kw_only=True)
class DesignCriterion(Part):
    """A criterion of a code design, chosen by ``physics.codebook.design.criterion``; its implementation is a
    `risjax.physics.code_design.criteria.Criterion`."""


def with_sections(base: type[Section], parts: Mapping[str, PartWithSection]) -> type[Section]:
    """Return ``base``, a class called ``_Name``, as ``Name`` with the sections of registered parts at their defaults.

    Args:
        base: class with the fields of risjax.
        parts: the parts by their names.

    Raises:
        RegistryError: a part with the name of a field of the base.
    """
    sections = {name: part.settings for name, part in parts.items() if part.settings is not None}
    name, text = base.__name__.removeprefix("_"), base.__doc__
    for taken in sections.keys() & base.model_fields.keys():
        raise RegistryError(
            f"the registered part {taken!r}, {parts[taken].implementation}, has the name of a setting of {name}; "
            "rename the part"
        )
    fields: dict[str, Any] = {name: (section, section()) for name, section in sections.items()}
    return create_model(name, __base__=base, __module__=base.__module__, __doc__=text, **fields)
