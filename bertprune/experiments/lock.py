"""Locks: a run is executed by one process at a time, and by those that this one starts."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bertprune.base.errors import UserError

# The environment variable that names what a process above this one has locked.
_LOCKED = "BERTPRUNE_LOCKED_RUN"

# One that is about to end is no news: the worker of a killed sweep takes a moment to notice.
_SECONDS_IN_SILENCE = 5.0


class InWork(UserError):
    """Another process holds the lock."""


@contextmanager
def locked(name: str, file: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of the run `name` on `file`; the system frees it when this process ends in
    whatever way.

    Where another process holds it, this one waits and says so; without `wait` it raises InWork.
    Whoever comes in must look again what there is to do, since the other may have done it.
    Processes that this one starts, the run's kernel, may enter too.
    """
    above = os.environ.get(_LOCKED, "")
    if above == name:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as lock:
        _take(lock, f"{name} is being executed by another process", wait)
        os.environ[_LOCKED] = name
        try:
            yield
        finally:
            os.environ[_LOCKED] = above


def is_free(file: Path) -> bool:
    """Whether no process holds the lock on `file`."""
    if not file.exists():
        return True
    with file.open("wb") as lock:
        return _is_taken(lock)


def _take(lock: IO[bytes], said: str, wait: bool) -> None:
    silence = time.monotonic() + _SECONDS_IN_SILENCE
    while not _is_taken(lock):
        if not wait:
            raise InWork(said)
        if time.monotonic() > silence:
            print(f"{said}: waiting for it", file=sys.stderr)
            silence = float("inf")
        time.sleep(0.2)


def _is_taken(lock: IO[bytes]) -> bool:
    """Take the lock, if it is free. Raises UserError where the file system has none."""
    try:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # As on a cluster's Lustre or NFS, where it depends on how they are mounted.
        raise UserError(
            f"{lock.name} cannot be locked ({error.strerror}): let runs/ be a link to a folder on "
            "a file system that knows flock"
        ) from error
    return True
