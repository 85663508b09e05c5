"""``debug.*``: what a run that goes wrong does to say why."""

from risjax.config.section import Section


class DebugConfig(Section):
    """Help with a training that meets a value that is not finite."""

    locate_nonfinite: bool = False
    """When a training stops for something that is not finite, evaluate the offending step once more, operation by
    operation, and name the first intermediate that is not finite: primitive, dtype, scope, source line. Costs the
    memory of a second training state, and a minute when it happens."""
