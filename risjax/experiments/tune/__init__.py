"""Choice of the settings after the network on one trained network, by paired comparison.

================== =====================================================================
``settings.py``    the configurations that are compared, checked before any work
``measure.py``     estimates of a configuration with a head of its own, by stages that are kept
``run.py``         the stage ``tune``; ``tables.py`` its tables
================== =====================================================================
"""
