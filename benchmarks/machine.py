"""The machine that a benchmark ran on, for its JSON file, and the processor time of a call."""

import os
import platform
import time
from collections.abc import Callable
from typing import Any

import jax


def machine() -> dict[str, Any]:
    """Return the device, the cores that this process may use, and the load of the last minute."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
    }


def processor_seconds(function: Callable[..., Any], *arguments: object) -> tuple[float, Any]:
    """Return the processor time of a call with its results ready, and the results."""
    started = time.process_time()
    result = jax.block_until_ready(function(*arguments))
    return time.process_time() - started, result
