"""``physics.codebook.*``: the phase codes of the surface.

`CODEBOOKS` registers their kinds, those of other packages included (`risjax.registry`).
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from risjax.config.code_design import DesignConfig
from risjax.registry import Codebook, NonNegativeInt, PositiveInt, Section, collect, with_sections

_MODULE = "risjax.physics.codebook"

CODEBOOKS: dict[str, Codebook] = collect(
    "risjax.codebooks",
    Codebook,
    (
        Codebook(name="dft", implementation=f"{_MODULE}:dft_codes"),
        Codebook(name="random", implementation=f"{_MODULE}:random_codes"),
        Codebook(name="random_each_scene", implementation=f"{_MODULE}:random_codes_of_scene", each_scene=True),
        Codebook(name="hadamard", implementation=f"{_MODULE}:hadamard_codes"),
        Codebook(name="designed", implementation="risjax.physics.code_design.optimise:designed_codes", each_scene=True),
        Codebook(name="file", implementation=f"{_MODULE}:codes_of_file"),
        Codebook(name="original", implementation=f"{_MODULE}:original_codes"),
    ),
)
"""Every kind of phase codes by its name."""

if TYPE_CHECKING:
    CodebookName = str
else:
    CodebookName = Literal[tuple(CODEBOOKS)]


class _CodebookConfig(Section):
    """The phase codes that the surface runs through."""

    kind: CodebookName = "random"
    """``dft``: columns of the two-dimensional DFT balanced in both axes; ``random``: uniform phases, the same in every
    scene; ``random_each_scene``: new uniform phases in every scene; ``hadamard``: signs of Walsh functions;
    ``designed``: codes for the channel of each scene, by gradient; ``file``: any; ``original``: the original
    pipeline's; or a codebook of another package."""
    num_snapshots: PositiveInt = 16
    """L, codes and snapshots a scene."""
    phase_bits: Annotated[int, Field(ge=1, le=16)] | None = 3
    """Bits of the phase shifters; null leaves the phases unquantised. Codes of a file are not quantised."""
    seed: NonNegativeInt = 0
    """``random``: the seed of the codes. ``designed``: the seed of the start."""
    design: DesignConfig = DesignConfig()
    """``designed``: criterion and steps."""
    path: str | None = None
    """``file``: an .npy file of [L, N] codes, +1 and -1 or complex of modulus 1."""
    measured: bool = False
    """``file``: the codes are measured reflection coefficients, whose modulus may differ from 1."""

    @model_validator(mode="after")
    def _file_has_a_path(self) -> "_CodebookConfig":
        if (self.kind == "file") != (self.path is not None):
            raise ValueError(f"path goes with kind = file and only with it, got kind = {self.kind}, path = {self.path}")
        if self.measured and self.kind != "file":
            raise ValueError(f"measured goes with kind = file only, got kind = {self.kind}; set it to false")
        return self


if TYPE_CHECKING:
    CodebookConfig = _CodebookConfig
else:
    CodebookConfig = with_sections(_CodebookConfig, CODEBOOKS)
