"""Private names of other packages: the only folder that reads or patches them, one file for each package.

Each file names the versions that it was needed for. ``tests/_compat/`` has a canary for each use, which fails with a
clear sentence when the private name moves.
"""
