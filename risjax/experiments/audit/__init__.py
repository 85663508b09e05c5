"""The proof, from the traced program, that nothing of the loss runs below full precision."""

from risjax.experiments.audit.rules import Offence, offences
from risjax.experiments.audit.stage import run_audit, trace_step
from risjax.experiments.audit.walk import Operation, operations

__all__ = ["Offence", "Operation", "offences", "operations", "run_audit", "trace_step"]
