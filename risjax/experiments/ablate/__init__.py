"""Ablation: variants of one configuration, trained under several seeds, measured on the same scenes."""
