"""What the machine that does the work is called."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


@cache
def device_name() -> str:
    """The GPU, or else the processor."""
    return gpu_name() or processor()


@cache
def gpu_name() -> str:
    """The model of the GPU that torch would use; empty without one."""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else ""


def processor() -> str:
    """The model of the processor, as the system calls it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
