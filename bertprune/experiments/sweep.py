"""A sweep: the runs of a study, each after what it starts from, independent ones side by side."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from bertprune.base import paths, progress
from bertprune.base.errors import UserError
from bertprune.base.machine import usable_cores
from bertprune.base.words import output_takes_every_character
from bertprune.experiments import execution, stacking
from bertprune.experiments.lock import InWork
from bertprune.experiments.runs import Run, lineage, to_execute
from bertprune.experiments.timekeeping import progress_in_words
from bertprune.protocol.notebook_parameters import BurnIn

_SECONDS_BETWEEN_LOOKS = 2.0


@dataclass
class Outcome:
    """What became of the runs of a sweep, by id."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


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


def sweep(
    runs: Sequence[Run], executor: Executor, threads: Mapping[Run, int], at_once: int = 1
) -> Outcome:
    """Execute those of `runs` that are not done, in the order of what they need.

    `executor` is anything with the interface of `concurrent.futures.Executor`; what it is given
    is a module-level function and plain values. A run that fails does not stop those that do
    not need it. Of runs that differ in seed and pruning alone, up to `at_once` models train as one
    before their notebooks are executed.
    """
    outcome = Outcome()
    waiting = to_execute(runs)
    outcome.skipped += [run.id for run in runs if run not in waiting]
    working: dict[Future[Any], list[Run]] = {}
    trained: set[Run] = set()
    with progress.bar("runs", len(runs), "run", len(outcome.skipped)) as shown:
        while waiting or working:
            for run in _hopeless(waiting, outcome.failed):
                waiting.remove(run)
                outcome.failed[run.id] = "not executed: what it starts from failed"
                shown.update()
            ready = _ready(waiting, chain(*working.values()))
            # Other sweeps have theirs; what is left of them is seen to when they are through.
            free = [run for run in ready if not run.is_in_work()]
            for group in _groups(free, waiting, trained, at_once):
                working[_submit(executor, group, threads, at_once)] = group
                waiting = [run for run in waiting if run not in group]
            if waiting and not working and free == ready:
                needed = lineage(waiting[0])[-1]
                raise UserError(
                    f"{waiting[0].id} waits for {needed.id}, whose result is not in "
                    f"{paths.runs_folder()}: do all workers write there?"
                )
            for future in _finished(working, shown, others=free != ready):
                group = working.pop(future)
                if isinstance(future.exception(), InWork):
                    waiting += group
                    continue
                if error := _error_of(future):
                    shown.write(f"error: {error}", file=sys.stderr)
                if len(group) > 1:
                    # Their notebooks are next; those of a stack that failed train alone.
                    trained.update(group)
                    waiting = group + waiting
                    continue
                if error:
                    outcome.failed[group[0].id] = error
                else:
                    (outcome.done if future.result() else outcome.skipped).append(group[0].id)
                shown.update()
    return outcome


def _finished(
    working: Mapping[Future[Any], Sequence[Run]], shown: Any, *, others: bool
) -> set[Future[Any]]:
    """What has finished of all that is in work; shows meanwhile how far that is.

    Where `others` have runs in work too, no longer than until it is time to look for theirs again.
    """
    finished: set[Future[Any]] = set()
    while working and not finished:
        finished, _ = wait(working, _SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
        shown.set_postfix_str(_in_work(chain(*working.values())))
        if others:
            return finished
    if others:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return finished


def _hopeless(waiting: Iterable[Run], failed: Collection[str]) -> list[Run]:
    """Runs that need one that has failed."""
    return [run for run in waiting if any(needed.id in failed for needed in lineage(run))]


def _ready(waiting: Sequence[Run], working: Iterable[Run]) -> list[Run]:
    """Runs whose needs are all done, and not to be executed anew."""
    unfinished = {run.id for run in chain(waiting, working)}
    return [
        run
        for run in waiting
        if all(needed.id not in unfinished and needed.is_done() for needed in lineage(run))
    ]


def _submit(
    executor: Executor, group: Sequence[Run], threads: Mapping[Run, int], at_once: int
) -> Future[Any]:
    if len(group) > 1:
        return executor.submit(stacking.train, [run.parameters for run in group], at_once)
    return executor.submit(_execute, group[0].parameters, threads[group[0]])


def _error_of(future: Future[Any]) -> str:
    """What went wrong, in words; empty if nothing did. Raises UserError if a worker was killed."""
    try:
        future.result()
    except BrokenExecutor as error:
        raise UserError(
            "a worker process was killed, perhaps for lack of memory: give the same command "
            "again, with fewer --workers or --at-once, to go on"
        ) from error
    except Exception as error:
        # Whatever it is, it is this run's, and the others go on.
        return str(error) if isinstance(error, UserError) else repr(error)
    return ""


def _groups(
    ready: Sequence[Run], waiting: Sequence[Run], trained: Collection[Run], at_once: int
) -> list[list[Run]]:
    """What to submit of the runs that are `ready`: runs to train together, and single ones.

    A run waits for those that it may train with; one of which only the page is left, for none.
    """
    if at_once == 1:
        return [[run] for run in ready]
    groups: dict[object, list[Run]] = {}
    for run in waiting:
        which = None if run in trained or run.is_trained() else stacking.kind(run)
        groups.setdefault(run if which is None else which, []).append(run)
    return [group for group in groups.values() if all(run in ready for run in group)]


def _in_work(runs: Iterable[Run]) -> str:
    """What the workers do, for the end of the sweep's bar."""
    return "; ".join(words for run in runs if (words := progress_in_words(run.partial_folder)))


def thread_counts(runs: Sequence[Run], workers: int, cores: int | None = None) -> dict[Run, int]:
    """How many threads each run gets: the cores, by default those that this process may
    use, shared by what can run beside it.

    From the plan alone, not from what happens to run, so that a sweep that was stopped and goes on
    gives the same bits as an unbroken one.
    """
    cores = cores or usable_cores()
    widths = Counter(len(lineage(run)) for run in runs)
    return {run: max(1, cores // min(workers, widths[len(lineage(run))])) for run in runs}


def _execute(parameters: BurnIn, threads: int) -> bool:
    return execution.execute(Run(parameters), threads=threads, forked=True, wait=False)


def _begin_worker(parent: int) -> None:
    """Have this worker print what it likes, and end as soon as the sweep is gone, killed perhaps;
    its kernel then ends too."""
    output_takes_every_character()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
