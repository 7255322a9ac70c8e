"""Workers of a sweep that are processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from bertprune.base.machine import usable_cores
from bertprune.base.words import output_takes_every_character
from bertprune.experiments.runs import Run, lineage


def local_workers(workers: int) -> ProcessPoolExecutor:
    """`workers` processes on this machine, which end when this one does, in whatever way."""
    if workers > 1:
        # Threads that wait for each other by spinning, as they do by themselves, are the fastest
        # with the machine to themselves, and the slowest by far beside another worker.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(os.getpid(),),
    )


def thread_counts(runs: Sequence[Run], workers: int, cores: int | None = None) -> dict[Run, int]:
    """How many threads each run gets: the cores, by default those that this process may
    use, shared by what can run beside it.

    From the plan alone, not from what happens to run, so that a sweep that was stopped and goes on
    gives the same bits as an unbroken one.
    """
    cores = cores or usable_cores()
    widths = Counter(len(lineage(run)) for run in runs)
    return {run: max(1, cores // min(workers, widths[len(lineage(run))])) for run in runs}


def _begin_worker(parent: int) -> None:
    """Have this worker print what it likes, and end as soon as the sweep is gone, killed perhaps;
    its kernel then ends too."""
    output_takes_every_character()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
