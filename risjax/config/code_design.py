"""``physics.codebook.design.*`` and ``design.*``: phase codes found by gradient.

`CRITERIA` registers the criteria, those of other packages included (`risjax.registry`).
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from risjax.registry import DesignCriterion, PositiveFloat, PositiveInt, Section, collect

_MODULE = "risjax.physics.code_design.criteria"

CRITERIA: dict[str, DesignCriterion] = collect(
    "risjax.design_criteria",
    DesignCriterion,
    (
        DesignCriterion(name="mutual_information", implementation=f"{_MODULE}:mutual_information"),
        DesignCriterion(name="position_information", implementation=f"{_MODULE}:position_information"),
        DesignCriterion(name="crb", implementation=f"{_MODULE}:crb"),
        DesignCriterion(name="coherence", implementation=f"{_MODULE}:coherence"),
    ),
)
"""Every criterion by its name."""

if TYPE_CHECKING:
    CriterionName = str
else:
    CriterionName = Literal[tuple(CRITERIA)]


class DesignConfig(Section):
    """Gradient steps on the phases of the codes."""

    criterion: CriterionName = "mutual_information"
    """Criterion to maximise (`risjax.physics.code_design.criteria`)."""
    steps: PositiveInt = 60
    """Gradient steps from random phases."""
    step_rad: PositiveFloat = 0.4
    """Size of the first step of Adam in radians; it decays to zero as a cosine."""
    positions: Annotated[int, Field(ge=2)] = 16
    """Positions of sources that each step samples."""


class DesignStageConfig(Section):
    """The stage ``design``: one set of codes for the distribution of channels, compared with others."""

    steps: PositiveInt = 150
    """Gradient steps from random phases."""
    channels: PositiveInt = 8
    """Channels that each gradient step samples."""
    method: Literal["greedy_ml", "learned_ml"] = "greedy_ml"
    """Method whose metrics are compared; ``learned_ml`` needs ``weights``."""
    scenes: PositiveInt = 512
    """Scenes on which the codebooks are compared, each with its own channel."""
    each_channel: bool = True
    """Compare codes designed for each scene's channel (``physics.codebook.kind = designed``), too."""
