"""Going through a plan: each run after what it starts from, independent ones side by side."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from bertprune.base import paths, progress
from bertprune.base.errors import UserError
from bertprune.experiments import stacking
from bertprune.experiments.lock import InWork
from bertprune.experiments.runs import Run, lineage, to_execute
from bertprune.experiments.sweep.task import Task, is_there
from bertprune.experiments.timekeeping import progress_in_words

_SECONDS_BETWEEN_LOOKS = 2.0
# More of them do not fit on a line.
_MOST_SHOWN = 4

Working = dict[Future[Any], list[Run]]


@dataclass
class Outcome:
    """What became of the runs of a sweep, by id."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def sweep(
    runs: Sequence[Run],
    executor: Executor,
    threads: Mapping[Run, int],
    at_once: int = 1,
    stages: Mapping[Run, int] | None = None,
) -> Outcome:
    """Execute those of `runs` that are not done, in the order of what they need, `stages` in turn.

    `executor` has the interface of `concurrent.futures.Executor`, and is given a `task.Task`, which
    has plain values alone. A run that fails does not stop those that do not need it. Of runs that
    differ in seed and pruning alone, up to `at_once` models train as one before their notebooks are
    executed. Raises UserError where workers are gone, or their results do not appear here.
    """
    outcome = Outcome()
    waiting = {run.id: run for run in to_execute(runs)}
    outcome.skipped += [run.id for run in runs if run.id not in waiting]
    kinds = _kinds(waiting.values()) if at_once > 1 else {}
    there: set[str] = set()
    working: Working = {}
    with progress.bar("runs", len(runs), "run", len(outcome.skipped)) as shown:
        while waiting or working:
            for name in _hopeless(waiting, outcome.failed):
                del waiting[name]
                outcome.failed[name] = "not executed: what it starts from failed"
                shown.update()
            now = _of_first_stage(waiting, working, stages or {})
            ready = _ready(now, working, there)
            # Other sweeps have theirs; what is left of them is seen to when they are through.
            free = [run for run in ready if not run.is_in_work()]
            for group in _groups(free, now, kinds):
                task = Task(tuple(run.parameters for run in group), threads[group[0]], at_once)
                working[executor.submit(task)] = group
                for run in group:
                    del waiting[run.id]
            if waiting and not working and free == ready:
                raise _is_missing(lineage(next(iter(waiting.values())))[-1])
            for future in _finished(working, shown, others=free != ready):
                group = working.pop(future)
                if isinstance(future.exception(), InWork):
                    waiting |= {run.id: run for run in group}
                    continue
                if error := _error_of(future):
                    shown.write(f"error: {error}", file=sys.stderr)
                if len(group) > 1:
                    # Their notebooks are next; those of a stack that failed train alone.
                    for run in group:
                        del kinds[run.id]
                    waiting = {run.id: run for run in group} | waiting
                    continue
                name = group[0].id
                if error:
                    outcome.failed[name] = error
                elif is_there(group[0]):
                    there.add(name)
                    (outcome.done if future.result() else outcome.skipped).append(name)
                else:
                    raise _is_missing(group[0])
                shown.update()
    return outcome


def _is_missing(run: Run) -> UserError:
    return UserError(
        f"{run.id} is said to be done, but its result is not in {paths.runs_folder()}: do all "
        "workers write there?"
    )


def _finished(working: Working, shown: Any, *, others: bool) -> set[Future[Any]]:
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


def _hopeless(waiting: Mapping[str, Run], failed: Collection[str]) -> list[str]:
    """Runs that need one that has failed."""
    if not failed:
        return []
    return [
        name for name, run in waiting.items() if any(needed.id in failed for needed in lineage(run))
    ]


def _of_first_stage(
    waiting: Mapping[str, Run], working: Working, stages: Mapping[Run, int]
) -> Mapping[str, Run]:
    """Those of the runs `waiting` that are of the first stage that is not through."""
    unfinished = chain(waiting.values(), *working.values())
    first = min((stages.get(run, 0) for run in unfinished), default=0)
    return {name: run for name, run in waiting.items() if stages.get(run, 0) == first}


def _ready(waiting: Mapping[str, Run], working: Working, there: set[str]) -> list[Run]:
    """Runs whose needs are all done, and not to be executed anew; notes which are `there`."""
    unfinished = waiting.keys() | {run.id for run in chain(*working.values())}
    ready = []
    for run in waiting.values():
        needed = {one.id: one for one in lineage(run)}
        if unfinished.isdisjoint(needed):
            there |= {name for name in needed.keys() - there if needed[name].is_done()}
            if needed.keys() <= there:
                ready.append(run)
    return ready


def _error_of(future: Future[Any]) -> str:
    """What went wrong, in words; empty if nothing did. Raises UserError if there are no workers
    any more."""
    try:
        future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, perhaps for lack of memory: give the same command "
            "again, with fewer --workers or --at-once, to go on"
        ) from error
    except BrokenExecutor as error:
        raise UserError(str(error)) from error
    except Exception as error:
        # Whatever it is, it is this run's, and the others go on.
        return str(error) if isinstance(error, UserError) else repr(error)
    return ""


def _kinds(runs: Iterable[Run]) -> dict[str, object]:
    """What runs may train together, by run: those of one kind. One that trains alone, or of which
    only the page is left, has none."""
    found = {run.id: stacking.kind(run) for run in runs if not run.is_trained()}
    return {name: kind for name, kind in found.items() if kind is not None}


def _groups(
    ready: Sequence[Run], waiting: Mapping[str, Run], kinds: Mapping[str, object]
) -> list[list[Run]]:
    """What to submit of the runs that are `ready`: runs to train together, and single ones. A run
    waits for all that it may train with."""
    if not kinds:
        return [[run] for run in ready]
    groups: dict[object, list[Run]] = {}
    for name, run in waiting.items():
        groups.setdefault(kinds.get(name, name), []).append(run)
    ids = {run.id for run in ready}
    return [group for group in groups.values() if all(run.id in ids for run in group)]


def _in_work(runs: Iterable[Run]) -> str:
    """What the workers do, for the end of the sweep's bar."""
    words = [said for run in runs if (said := progress_in_words(run.partial_folder))]
    more = [f"{len(words) - _MOST_SHOWN} more"] if len(words) > _MOST_SHOWN else []
    return "; ".join([*words[:_MOST_SHOWN], *more])
