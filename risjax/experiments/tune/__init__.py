"""Choice of the settings after the network on one trained network, by paired comparison.

============================ =====================================================================
``tuned_settings.py``        the settings that are compared, checked before any work
``network_with_settings.py`` estimates with any settings and a head of their own; done work is kept
``stage.py``                 the stage ``tune``; ``tuning_tables.py`` its tables
============================ =====================================================================
"""
