"""The stage ``design``: phase codes found by gradient, compared with others on simulated scenes."""

from risjax.experiments.code_design.stage import DesignError, design

__all__ = ["DesignError", "design"]
