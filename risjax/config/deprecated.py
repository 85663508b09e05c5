"""Tables of the settings and methods that were removed, renamed or added since earlier versions.

A removed setting is accepted at the value that switched it off, which means the same program without it, and dropped;
at any other value it is an error with the reason. A renamed setting is moved. To remove or rename a setting, add a line
to `DEPRECATED`. A new setting whose default differs from what earlier versions did has a line in `ADDED`, unless stored
networks shall use it too, like ``estimator.posterior.final_iterations``, which moves the reported fit to its optimum.
`risjax.config.upgrade` applies the tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Removed:
    """A setting, or with ``switch`` a whole section, that no longer exists.

    Attributes:
        off: the value that switched it off, or the default where another removed setting switched it off; of a
            section, that value of its setting ``switch``.
        reason: why it was removed, or what replaces it.
        switch: name of the setting that decides whether the section is dropped. A section without it is dropped.
    """

    off: Any
    reason: str
    switch: str | None = None


@dataclass(frozen=True)
class Unread:
    """A section that no setting uses any longer. It is dropped at any value; a search over it is an error.

    Attributes:
        reason: why it was removed.
    """

    reason: str


@dataclass(frozen=True)
class RemovedChoice:
    """A value, alone or in a list, that a setting no longer takes.

    Attributes:
        value: the value.
        reason: why it was removed, or what replaces it.
    """

    value: str
    reason: str


@dataclass(frozen=True)
class RemovedNull:
    """A setting that is no longer null. What null meant depends on another setting of its section.

    Attributes:
        other: name of that setting. Where the section states it, null is dropped.
        names: new values of the other setting, by the value with which null had a meaning.
        reason: what replaces null, for a section that does not state the other setting.
    """

    other: str
    names: Mapping[str, str]
    reason: str


@dataclass(frozen=True)
class RenamedChoice:
    """Values of a setting, alone or in a list, that have other names now.

    Attributes:
        names: old name to new name.
    """

    names: Mapping[str, str]


@dataclass(frozen=True)
class Renamed:
    """A setting or section that has another path now.

    Attributes:
        to: the new path; each ``*`` is the index that the old path has in its place.
    """

    to: str


Action = Removed | Unread | RemovedChoice | RemovedNull | RenamedChoice | Renamed

_GEOMETRY = "the geometry head was removed (docs/ablation.md); locate sources by learned_mvdr or learned_ml"
_CONTRAST = (
    "the term was removed because it changed no metric (docs/ablation.md); loss.projector and loss.alignment remain"
)
_DIAGONAL = "the weight was removed because it changed no metric (docs/ablation.md); leave it out"
_REFINER = "the refiner was removed because it changed no metric of learned_ml (docs/ablation.md); leave it out"
_SHRINKAGE = (
    "the setting was removed because it repeats the loading; set covariance.loading to "
    "(shrinkage + loading) / (1 - shrinkage), which gives the same covariance"
)
_MULTIPLE = (
    "weights that change during a training were removed because no measurement supported them (docs/ablation.md); "
    "leave it out"
)

DEPRECATED: dict[str, Action] = {
    "model.geometry_slots": Removed(0, _GEOMETRY),
    "loss.geometry": Removed(0, _GEOMETRY, switch="weight"),
    "loss.contrast": Removed(0, _CONTRAST, switch="weight"),
    "loss.covariance.diagonal": Removed(1, _DIAGONAL),
    "model.refiner_width": Removed(0, _REFINER),
    "train.refiner": Removed(1000, _REFINER, switch="steps"),  # every run without a refiner has stored this default
    "covariance.shrinkage": Removed(0, _SHRINKAGE),
    **{
        f"loss.{term}.{setting}": Removed(1, _MULTIPLE)
        for term in ("covariance", "projector", "alignment")  # terms of other packages may have fields of these names
        for setting in ("warmup", "final")
    },
    "loss.schedule": Unread(_MULTIPLE),
    "physics.codebook.kind": RemovedChoice("mixed", "no measurement supported it; take dft or random"),
    "physics.codebook.seed": RemovedNull(
        "kind",
        MappingProxyType({"random": "random_each_scene"}),
        "for new codes in every scene set physics.codebook.kind to random_each_scene and leave the seed out",
    ),
    "physics.simulator": RenamedChoice(MappingProxyType({"rician": "standard"})),
    "evaluate.methods": RemovedChoice("learned_geometry", _GEOMETRY),
    "ablate.methods": RemovedChoice("learned_geometry", _GEOMETRY),
}
"""Old dotted path to what is done with it; ``*`` is any index or name. A path of ``physics`` holds in
``evaluate.sources[].physics`` too."""


@dataclass(frozen=True)
class Added:
    """A setting that complete sections of earlier versions lack.

    Attributes:
        value: what earlier versions did; the default of the schema is another value.
        complete: settings that every complete section of an earlier version holds. A section that holds all of them
            was written by the program, in a run directory, a release or a manifest; users write the ones they change.
    """

    value: Any
    complete: frozenset[str]


ADDED: dict[str, Added] = {
    "physics.scene.snr_reference": Added(
        "received",
        frozenset(
            (
                "max_sources",
                "num_sources",
                "azimuth_deg",
                "elevation_deg",
                "range_m",
                "snr_db",
                "min_separation_deg",
                "symbols",
                "modulus",
                "gain_db",
            )
        ),
    )
}
"""Dotted path of a new setting to its value in sections that were stored before it existed."""

RENAMED_METHODS: Mapping[str, str] = MappingProxyType(
    {
        "greedy_ml_told_k": "greedy_ml_known_k",
        "sample_mvdr": "mvdr",
        "sample_music": "music",
        "sample_bartlett": "bartlett",
        "omp_ml": "omp",
    }
)
"""Old to new names of methods, in ``evaluate.methods`` and in the results that earlier versions stored."""


def current_method(name: str) -> str:
    """Return the present name of a method; the same name if it was not renamed."""
    return RENAMED_METHODS.get(name, name)


def current_array_name(name: str) -> str:
    """Return the name ``source/method/field`` of an array of ``estimates.npz`` with the present name of its method."""
    parts = name.split("/")
    return "/".join([*parts[:1], *map(current_method, parts[1:2]), *parts[2:]])
