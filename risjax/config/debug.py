"""``debug.*``: diagnosis of a run that fails."""

from risjax.registry.section import Section


class DebugConfig(Section):
    """Diagnosis of values that are not finite."""

    locate_nonfinite: bool = False
    """If a training stops because of a value that is not finite, evaluate that step again, operation by operation,
    and report the first intermediate that is not finite: primitive, dtype, scope, source line. Needs the memory of a
    second training state, and a minute when it happens."""
