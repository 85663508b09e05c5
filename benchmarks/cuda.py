"""All measurements that need a GPU, in one command: ``python benchmarks/cuda.py``. At most 8 minutes on an H100.

Each part runs in a separate process with a time limit, so that a failure or a hang does not affect the others.
cuda.json beside this file is written after each part, and a second call measures the missing ones. A part stopped by
its limit keeps the figures measured before. The parts, in order, are in benchmarks/gpu/parts.py.

    python benchmarks/cuda.py                         # all parts; again: the missing ones
    python benchmarks/cuda.py --parts scenes mvdr     # these, measured again
    python benchmarks/cuda.py --rehearse              # on a CPU with tiny sizes, into runs/cuda/rehearsal.json
    python benchmarks/cuda.py --page                  # writes docs/gpu.md from cuda.json, measures nothing

Other versions or another device than those in the file start a new file. Logs are in runs/cuda/. The exit status is 0
when every part was measured, or could not be here with a known reason (PyTorch is not installed).
"""

import sys
from pathlib import Path

# In place of this folder, in which ``cuda`` would be this file: jax and PyTorch look for NVIDIA's package of that name.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse  # noqa: E402

from benchmarks.gpu.page import PAGE, page  # noqa: E402
from benchmarks.gpu.parts import PARTS  # noqa: E402
from benchmarks.gpu.run import WORK, measure  # noqa: E402

RESULT = Path(__file__).with_suffix(".json")


def main() -> int:
    """Measures and writes the JSON and the page; returns the exit status."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=names, help="measure these, also where the file has them")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU with tiny sizes")
    parser.add_argument("--page", action="store_true", help="write docs/gpu.md only")
    parser.add_argument("--minutes", type=float, help="in all; default 8, or 60 with --rehearse")
    parser.add_argument("--out", type=Path, help="the JSON file")
    arguments = parser.parse_args()
    rehearse = arguments.rehearse
    status = 0
    if not arguments.page:
        out = arguments.out or (WORK / "rehearsal.json" if rehearse else RESULT)
        minutes = arguments.minutes or (60 if rehearse else 8)
        again = arguments.parts is not None
        status = measure(arguments.parts or names, out, minutes, rehearse=rehearse, again=again)
    if not rehearse and arguments.out is None:
        PAGE.write_text(page(RESULT), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
