"""The processes that train together, and what training asks of the one that it runs in."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState, is_initialized

from bertprune.base.errors import UserError
from bertprune.base.machine import usable_cores
from bertprune.model.precision import BF16, FLOAT32

# Of glibc's malloc.h; the threshold is an int, so this is the highest.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_MOST_KEPT_BYTES = (1 << 31) - 1


def accelerator(precision: str = FLOAT32) -> Accelerator:
    """The Accelerate handle for `precision` (see `model.precision`). On the CPU where there is no
    CUDA.

    A handle of another precision that was given before is of no use afterwards. Raises UserError
    where accelerate is configured to shard models.
    """
    wanted = "bf16" if precision == BF16 else "no"
    # Accelerate keeps the precision of the first handle, and refuses to give one of another.
    if is_initialized() and AcceleratorState().mixed_precision != wanted:
        AcceleratorState._reset_state()
    # Torch sees what the process is bound to, but no container's limit.
    if torch.get_num_threads() > (cores := usable_cores()):
        torch.set_num_threads(cores)
    found = Accelerator(mixed_precision=wanted, cpu=not torch.cuda.is_available())
    kind = found.distributed_type.name
    if kind != "NO" and not kind.startswith("MULTI_"):
        raise UserError(
            f"accelerate is set to {kind}, which shards what pruning must see whole: configure "
            "it for several processes or GPUs without sharding (`accelerate config`)"
        )
    return found


def is_main_process() -> bool:
    """Whether this process is the one that writes files, of those `accelerate launch` started."""
    return bool(_state().is_main_process)


def wait_for_everyone() -> None:
    _state().wait_for_everyone()


def _state() -> PartialState:
    # The first one that is made decides on the device, and nobody here knows any but these two.
    return PartialState(cpu=not torch.cuda.is_available())


def in_any_process(flag: bool, accelerator: Accelerator) -> bool:
    """Whether `flag` is set in any process. It makes a GPU wait."""
    if accelerator.num_processes == 1:
        return flag
    flags = torch.tensor(int(flag), device=accelerator.device)
    return bool(accelerator.reduce(flags, reduction="sum"))


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that is set by SIGINT or SIGTERM, so that a step is never left half done.

    A second signal acts as it would outside.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for kind, handler in before.items():
            signal.signal(kind, handler)

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        restore()

    for kind in before:
        signal.signal(kind, on_signal)
    try:
        yield stop
    finally:
        restore()


@contextmanager
def freed_memory_is_kept() -> Iterator[None]:
    """Make the C library, where it is glibc, keep large blocks that are freed.

    It would give them back to the system and get them anew at each step, page by page, which takes
    a fifth of it. Afterwards it is as glibc comes to be by itself where large blocks are freed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT_BYTES)
    try:
        yield
    finally:
        mallopt(_M_MMAP_MAX, 1 << 16)
        mallopt(_M_MMAP_THRESHOLD, 1 << 25)
        mallopt(_M_TRIM_THRESHOLD, 1 << 26)
