"""Search of any settings by their dotted paths, for the reported metric, resumable, by one or many workers.

===================== ==================================================================
``objective.py``      one trial: reports the metric of each epoch, completes or is pruned
``population.py``     several trials in one vmapped training
``sampler.py``        sampler and pruner
``space.py``          search space, checked against the schema
``slots.py``          numbered configurations of a study and their attempts
``study.py``          the search as a whole; ``worker.py`` one of its processes
``storage.py``        journal or database; ``heartbeat.py`` detects dead workers
``finalists.py``      the best trials compared on further scenes; ``separation.py`` spread over seeds
``record.py``         files with the results
``search_summary.py`` with ``search_tables.py`` and ``time_left.py``: the state at any time
===================== ==================================================================
"""
