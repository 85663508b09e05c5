"""``python run.py --config quick.yaml [section.key=value ...]``: the same as the console script ``risjax``."""

import os
import sys

# Before anything loads jax or scipy; risjax/__init__.py says why, and sets the same.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("PJRT_NPROC", str(max(9, os.cpu_count() or 1)))

from risjax.cli import main

if __name__ == "__main__":
    sys.exit(main())
