"""The parts of ``benchmarks/cuda.py``: name, time limit, what each measures, and the shape of their results."""

from typing import Any, NamedTuple

DONE, FAILED, STOPPED, NOT_MEASURED = "done", "failed", "stopped", "not measured"
"""Statuses of a part: complete; ended with an error; ended by its limit; impossible here, with the reason."""


class Part(NamedTuple):
    """One part.

    Attributes:
        name: as on the command line and in the JSON file.
        function: ``module:function`` below ``benchmarks.gpu``; called with ``rehearse``, it yields figures.
        limit_s: seconds that its process may take.
        measures: what, in one sentence.
    """

    name: str
    function: str
    limit_s: float
    measures: str


class NotMeasured(Exception):
    """A part cannot be measured here; the message is the reason."""


MACHINE = Part("machine", "correctness:machine", 60, "device and versions")

PARTS = (
    Part(
        "precision",
        "correctness:precision",
        75,
        "The loss on the GPU against the loss on the CPU: no TF32. With `loss_matmul: default` the same comparison "
        "shows what TF32 would do.",
    ),
    Part("scenes", "speed:scenes", 60, "Fresh scenes a second (y, H, codes, label factor)."),
    Part(
        "step",
        "training:step",
        200,
        "The whole training step in bfloat16, scenes included, against compiled PyTorch in turns: width 512, 4 layers, "
        "at batch 64 and at the largest power of two at which both fit the card together.",
    ),
    Part("mvdr", "speed:mvdr", 60, "MVDR on the original's full grid, 361 x 181 x 7 points, with refined peaks."),
    Part("pipeline", "speed:pipeline", 180, "The whole learned pipeline of the released network, by batch size."),
    Part(
        "population",
        "training:population",
        180,
        "Eight trials trained together (`search.population=8`) against one after another: trials an hour from steady "
        "epochs, validation included, compilation apart.",
    ),
    Part(
        "export",
        "correctness:exported",
        120,
        "The exported file of the released network, run on the GPU and on the CPU on the same scenes.",
    ),
    Part(
        "memory", "training:memory", 90, "The training step's memory, by XLA's plan, whole and in 8 parts of a batch."
    ),
    Part("tests", "correctness:tests", 180, "`pytest -m gpu`."),
)


def figure(
    name: str,
    value: float,
    unit: str = "",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    **details: Any,
) -> dict[str, Any]:
    """One measured figure.

    Args:
        name: what was measured.
        value: the number.
        unit: its unit.
        at_least: a goal, where there is one.
        at_most: likewise.
        details: what else belongs to it, JSON values.
    """
    goal = {"at_least": at_least, "at_most": at_most}
    return (
        {"name": name, "value": float(value), "unit": unit} | {k: v for k, v in goal.items() if v is not None} | details
    )


def meets_goal(entry: dict[str, Any]) -> bool | None:
    """Return True if a figure meets its goal; None if it has none."""
    if "at_least" in entry:
        return entry["value"] >= entry["at_least"]
    return entry["value"] <= entry["at_most"] if "at_most" in entry else None
