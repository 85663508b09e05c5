"""``distributed.*``: several processes, on one machine or many, that train one network together."""

import re

from pydantic import field_validator, model_validator

from risjax.registry.section import NonNegativeInt, PositiveInt, Section


class DistributedConfig(Section):
    """Processes that share every batch of a training: number 0 leads and writes, the others follow.

    The three settings come from here or from the environment variables ``JAX_COORDINATOR_ADDRESS``,
    ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID``; without them a process trains alone.
    """

    coordinator: str | None = None
    """``host:port`` at which process 0 can be reached by all; ``auto`` reads everything from a scheduler that JAX knows
    (Slurm, Open MPI, Kubernetes)."""
    num_processes: PositiveInt | None = None
    """Number of processes."""
    process_id: NonNegativeInt | None = None
    """Index of this process, from 0."""

    @field_validator("coordinator")
    @classmethod
    def _is_an_address(cls, coordinator: str | None) -> str | None:
        if coordinator in (None, "auto") or re.fullmatch(r"\S+:[0-9]+", coordinator):
            return coordinator
        raise ValueError(f"coordinator must be host:port or auto, got {coordinator!r}")

    @model_validator(mode="after")
    def _id_in_range(self) -> "DistributedConfig":
        if self.process_id is not None and self.num_processes is not None and self.process_id >= self.num_processes:
            raise ValueError(
                f"process_id counts from 0 and must be below num_processes, got {self.process_id} of "
                f"{self.num_processes}"
            )
        return self
