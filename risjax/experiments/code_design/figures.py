"""Figures of the stage ``design``."""

import numpy as np
from jaxtyping import Complex

from risjax.config import PhysicsConfig
from risjax.physics.pictures import codebook_figure
from risjax.runs.run_directory import RunDirectory


def write_figures(physics: PhysicsConfig, codes: Complex[np.ndarray, "L N"], directory: RunDirectory) -> None:
    """Write the beam pattern of each designed code to ``figures/design_codes.png``."""
    directory.figures.mkdir(exist_ok=True)
    codebook_figure(physics, codes).savefig(directory.figures / "design_codes.png", dpi=120)
