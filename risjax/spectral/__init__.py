"""Spectra over a grid of directions and inverse ranges: grids, spectra, peaks and their refinement."""
