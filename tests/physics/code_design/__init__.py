"""Tests of `risjax.physics.code_design`."""
