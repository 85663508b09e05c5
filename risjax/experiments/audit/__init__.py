"""Proof from the traced training step that no operation of the loss runs below full precision."""

from risjax.experiments.audit.rules import Violation, violations
from risjax.experiments.audit.stage import run_audit, trace_step
from risjax.experiments.audit.walk import Operation, operations

__all__ = ["Operation", "Violation", "operations", "run_audit", "trace_step", "violations"]
