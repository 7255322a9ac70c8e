"""A sweep: the runs of a study, each after what it starts from, independent ones side by side."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, field

from bertprune import execution, paths, progress
from bertprune.contracts import BurnIn
from bertprune.errors import UserError
from bertprune.runs import Run, lineage, to_execute

_SECONDS_BETWEEN_LOOKS = 2.0


@dataclass
class Outcome:
    """What became of the runs of a sweep, by id."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def local_workers(workers: int) -> ProcessPoolExecutor:
    """`workers` processes on this machine, which end when this one does, in whatever way."""
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with,
        initargs=(os.getpid(),),
    )


def sweep(runs: Sequence[Run], executor: Executor, threads: Mapping[Run, int]) -> Outcome:
    """Execute those of `runs` that are not done, in the order of what they need.

    `executor` is anything with the interface of `concurrent.futures.Executor`; what it is given
    is a module-level function and plain values. A run that fails does not stop those that do
    not need it.
    """
    outcome = Outcome()
    waiting = to_execute(runs)
    outcome.skipped += [run.id for run in runs if run not in waiting]
    working: dict[Future[str], Run] = {}
    total = len(runs)
    with progress.bar("runs", total, "run", len(outcome.skipped)) as shown:
        while waiting or working:
            for run in list(waiting):
                needs = [upstream.id for upstream in lineage(run)]
                if any(need in outcome.failed for need in needs):
                    waiting.remove(run)
                    outcome.failed[run.id] = "not executed: what it starts from failed"
                    shown.update()
                elif not any(other.id in needs for other in [*waiting, *working.values()]) and all(
                    upstream.is_done() for upstream in lineage(run)
                ):
                    waiting.remove(run)
                    future = executor.submit(_execute, run.parameters, threads[run])
                    working[future] = run
            if waiting and not working:
                needed = lineage(waiting[0])[-1]
                raise UserError(
                    f"{waiting[0].id} waits for {needed.id}, whose result is not in "
                    f"{paths.runs_folder()}: do all workers write there?"
                )
            finished: set[Future[str]] = set()
            while working and not finished:
                finished, _ = wait(working, _SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                shown.set_postfix_str(_in_work(working.values()))
            for future in finished:
                run = working.pop(future)
                try:
                    outcome.done.append(future.result())
                except BrokenExecutor as error:
                    raise UserError(
                        "a worker process was killed, perhaps for lack of memory: give the same "
                        "command again, with fewer --workers, to go on"
                    ) from error
                except Exception as error:
                    # Whatever it is, it is this run's, and the others go on.
                    said = str(error) if isinstance(error, UserError) else repr(error)
                    outcome.failed[run.id] = said
                    shown.write(f"error: {said}", file=sys.stderr)
                shown.update()
    return outcome


def _in_work(runs: Iterable[Run]) -> str:
    """What the workers do, for the end of the sweep's bar."""
    return "; ".join(words for run in runs if (words := run.progress()))


def thread_counts(runs: Sequence[Run], workers: int) -> dict[Run, int]:
    """How many threads each run gets: the cores, shared by what can run beside it.

    From the plan alone, not from what happens to run, so that a sweep that was stopped and goes on
    gives the same bits as an unbroken one.
    """
    cores = os.cpu_count() or 1
    widths = Counter(len(lineage(run)) for run in runs)
    return {run: max(1, cores // min(workers, widths[len(lineage(run))])) for run in runs}


def _execute(parameters: BurnIn, threads: int) -> str:
    return execution.execute(Run(parameters), threads=threads, forked=True)


def _end_with(parent: int) -> None:
    """End this worker as soon as the sweep is gone, killed perhaps; its kernel then ends too."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
