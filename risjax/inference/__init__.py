"""Use of a trained network: prediction, releases, export, and the released weights."""
