"""What the machine that does the work is called, how much of it may be used, and what a process may
expect of it."""

from __future__ import annotations

import atexit
import math
import os
import platform
import pwd
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bertprune.base.errors import UserError

_CPU_MODELS = Path("/proc/cpuinfo")
_BF16 = ("avx512_bf16", "amx_bf16")
_WIDEST_FIRST = ("avx512f", "avx2", "asimd")
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_OWN_GROUPS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


@cache
def device_name() -> str:
    """The GPU, or else the processor."""
    return gpu_name() or processor()


@cache
def gpu_name() -> str:
    """The model of the GPU that torch would use; empty without one."""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else ""


def may_have_gpu() -> bool:
    """Whether there is a driver of a GPU that torch might use: NVIDIA's, AMD's, or Windows'."""
    return any(Path(device).exists() for device in _GPU_DEVICES)


def has_gpu() -> bool:
    """Whether torch would use a GPU; asked without torch where there is no driver of one."""
    return may_have_gpu() and gpu_name() != ""


def processor() -> str:
    """The model of the processor, as the system calls it."""
    return _of_processor("model name") or platform.processor() or platform.machine()


def processor_family() -> tuple[str, int]:
    """The maker of the processor and its family by that maker's count; ("", 0) where the system
    does not say them. Unlike the model's name, a virtual machine does not mask them."""
    family = _of_processor("cpu family")
    return _of_processor("vendor_id"), int(family) if family.isdecimal() else 0


@cache
def has_native_bf16() -> bool:
    """Whether the GPU, or without one the processor, multiplies bf16 in hardware.

    A GPU that only emulates it is slower with it than in float32.
    """
    if has_gpu():
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(bf16_instructions())


@cache
def processor_in_full() -> str:
    """The processor with what tells those apart that a cloud calls alike: their family and model,
    and the instructions for bf16, or the widest ones of those without.

    `AMD EPYC (family 25, model 17), avx512_bf16`
    """
    family, model = _of_processor("cpu family"), _of_processor("model")
    numbers = f" (family {family}, model {model})" if family and model else ""
    widest = [name for name in _WIDEST_FIRST if name in _instructions()][:1]
    return ", ".join([processor() + numbers, *(bf16_instructions() or widest)])


def bf16_instructions() -> list[str]:
    """The instructions by which the processor multiplies bf16 itself. Without any of them bf16 is
    made up of float32, and slower than that."""
    return [name for name in _BF16 if name in _instructions()]


def _instructions() -> list[str]:
    return (_of_processor("flags") or _of_processor("Features")).split()


def _of_processor(name: str) -> str:
    """What Linux says of the first processor under `name`; empty where it says nothing."""
    for line in _lines(_CPU_MODELS):
        called, _, value = line.partition(":")
        if called.strip() == name:
            return value.strip()
    return ""


def usable_cores() -> int:
    """How many cores this process may use, at least 1: those that it is bound to (`taskset`), or
    fewer where a container or another control group limits its time on them. A part of a core
    counts as one."""
    # macOS binds no process to cores.
    bound = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if bound else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas())]))


def prepare_process(home: Path) -> None:
    """Give this process, and those below it, what libraries take for granted.

    That is three open streams, where the shell closed one (`>&-`), and a reader of the output, who
    may have left (`| head`). And it is a home and a name, where the system does not know the user
    (`docker run --user`): `home` then, unless HOME says another.

    Raises UserError where Python leaves out docstrings.
    """
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            # It gets the lowest number that is free; processes below take it over.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    atexit.register(_end_output)
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("HOME", str(home))
        os.environ.setdefault("LOGNAME", "nobody")
    if sys.flags.optimize > 1:
        raise UserError(
            "Python leaves out docstrings (-OO, PYTHONOPTIMIZE=2), which transformers cannot do "
            "without: leave that setting away"
        )


def _end_output() -> None:
    """Write what is left to write, and if nobody reads it, nothing about that either."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _quotas() -> Iterator[float]:
    """Seconds of all cores together in each second, where a control group that this process is in,
    or one around it, limits them."""
    for line in _lines(_OWN_GROUPS):
        _, controllers, group = line.split(":", 2)
        # The one of version 2 has no name for its controllers.
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container the group's own folder may be missing: it is then what is at the top.
        own = _GROUPS / ("cpu" if controllers else "") / group.strip("/")
        for folder in (own, *own.parents):
            files = ("cpu.max",) if not controllers else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            limit = " ".join(text for name in files for text in _lines(folder / name)).split()
            if limit and limit[0] not in ("max", "-1"):
                yield int(limit[0]) / int(limit[1])


def _lines(file: Path) -> list[str]:
    """What the system says in `file`; nothing where it has none."""
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
