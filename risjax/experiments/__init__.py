"""Experiments on networks and methods: search, evaluation, ablation, comparison, audit, Bayes limit."""
