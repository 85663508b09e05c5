"""Scenes: simulated streams, files that risjax writes, and readers for files of other programs."""
