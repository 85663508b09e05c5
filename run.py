"""``python run.py --config quick.yaml [section.key=value ...]``: the same as the console script ``risjax``."""

import sys

from risjax.cli import main  # before jax and scipy: `risjax/__init__.py` sets the environment

if __name__ == "__main__":
    sys.exit(main())
