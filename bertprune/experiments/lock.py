"""Locks: a run is executed by one process at a time, and by those that this one starts."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertprune.base.errors import UserError

# The environment variable that names what a process above this one has locked.
_LOCKED = "BERTPRUNE_LOCKED_RUN"

# The worker of a sweep that was killed takes a moment to notice.
_SECONDS_TO_END = 5.0


@contextmanager
def locked(name: str, file: Path) -> Iterator[None]:
    """Hold the lock of the run `name` on `file`; the system frees it when this process ends in
    whatever way.

    Raises UserError if another process holds it. Processes that this one starts, the run's kernel,
    may enter too.
    """
    above = os.environ.get(_LOCKED, "")
    if above == name:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    patience = time.monotonic() + _SECONDS_TO_END
    with file.open("wb") as lock:
        while not _is_taken(lock.fileno()):
            if time.monotonic() > patience:
                raise UserError(
                    f"{name} is being executed by another process: wait for it, or stop it first"
                )
            time.sleep(0.2)
        os.environ[_LOCKED] = name
        try:
            yield
        finally:
            os.environ[_LOCKED] = above


def _is_taken(lock: int) -> bool:
    """Take the lock, if it is free."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
