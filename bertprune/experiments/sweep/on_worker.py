"""What a Dask worker does for a sweep: it has a process of its own do it, as a sweep on one machine
has, and ends that one when the work is wanted no longer.

So a worker stays responsive whatever a run does, and environment variables by which a kernel knows
its run are one run's alone.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertprune.base.errors import UserError
from bertprune.experiments.execution import KernelKilled
from bertprune.experiments.lock import InWork
from bertprune.experiments.runs import Run, lineage
from bertprune.experiments.sweep.admission import Worker, differences, introduce
from bertprune.experiments.sweep.local import local_workers
from bertprune.experiments.sweep.task import Task, is_there

if TYPE_CHECKING:
    import distributed

_SECONDS_BETWEEN_LOOKS = 0.5

_PLUGIN = "bertprune"

# Dask sets them for tasks of its own; a run's threads are asked for, and the rest is to be as in a
# sweep on one machine.
_DASKS_OWN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class What(StrEnum):
    """What became of a task."""

    DONE = "done"
    DONE_BEFORE = "done before"
    IN_WORK = "in work"
    FAILED = "failed"
    LOST = "lost"
    """What did it was killed."""
    REFUSED = "refused"
    """It may not be done here."""


@dataclass(frozen=True)
class Answer:
    """What a worker says of a task in the end."""

    what: What
    said: str = ""
    worker: str = ""
    """Its address."""


def needed_by(runs: Iterable[Run]) -> list[Run]:
    """What `runs` need, each once, before those that need it."""
    return list({one.id: one for run in runs for one in lineage(run)}.values())


@dataclass(frozen=True)
class Order:
    """A task, with what the sweep knows of it."""

    task: Task
    root: str
    """The project."""
    identities: Sequence[Mapping[str, Any]]
    """Those of all that the task's runs need, and of these, as the sweep has them."""
    topic: str
    """Under which Dask's scheduler is told who begins with it."""


def name_of(worker: distributed.Worker) -> str:
    return f"{worker.name} on {socket.gethostname()}"


async def greet(
    root: str, runs: Sequence[Run], lock: Path, *, dask_worker: distributed.Worker
) -> Worker:
    """What the worker says of itself (`admission.introduce`); for `distributed.Client.run`."""
    if _PLUGIN not in dask_worker.plugins:
        # One that is put in the place of another ends the process of that.
        await dask_worker.plugin_add(_that_ends_process(), name=_PLUGIN)
    process = await asyncio.to_thread(_process)
    future = process.submit(_in_project, root, introduce, runs, lock)
    return await asyncio.wrap_future(future)


async def take(amounts: Mapping[str, float], *, dask_worker: distributed.Worker) -> None:
    """Set what tasks may ask of the worker; for `distributed.Client.run`."""
    await dask_worker.set_resources(**amounts)


def carry_out(order: Order) -> Answer:
    """Do the task of an `order`: what Dask's tasks call."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    worker.log_event(order.topic, {"key": key, "by": name_of(worker)})
    try:
        future = _process().submit(_in_project, order.root, _answer, order)
        while not wait([future], _SECONDS_BETWEEN_LOOKS).done:
            if not _is_wanted(worker, key):
                _end_process()
        return replace(future.result(), worker=worker.address)
    except BrokenProcessPool:
        _end_process()
        return Answer(What.LOST, f"the process of {name_of(worker)} was killed")


def _is_wanted(worker: distributed.Worker, key: object) -> bool:
    """Whether the task is still this worker's: nobody has cancelled it, and it is not closing."""
    state = worker.state.tasks.get(key)
    return (
        state is not None
        and state.state == "executing"
        and worker.status.name in ("running", "paused")
    )


def _answer(order: Order) -> Answer:
    """In the worker's process: do what is ordered, if all is as the sweep has it."""
    try:
        if refused := _refusal(order.task.runs, order.identities):
            return Answer(What.REFUSED, refused)
        return Answer(What.DONE if order.task() else What.DONE_BEFORE)
    except InWork as error:
        return Answer(What.IN_WORK, str(error))
    except (KernelKilled, KeyboardInterrupt) as error:
        # Who preempts a machine stops all its processes.
        return Answer(What.LOST, str(error) or "it was interrupted")
    except UserError as error:
        return Answer(What.FAILED, str(error))
    except Exception as error:
        return Answer(What.FAILED, repr(error))


def _refusal(runs: Sequence[Run], identities: Iterable[Mapping[str, Any]]) -> str:
    """Why `runs` may not be done here: they, or what they need, would be others or are not there;
    empty if they may."""
    needed = needed_by(runs)
    # Both sides go through the same parameters, so the order is the same.
    for run, here in zip((*needed, *runs), identities, strict=True):
        if found := differences(here, run.identity):
            return f"for {run.notebook} it has {found}: give both the same"
    missing = [one.id for one in needed if not is_there(one)]
    return f"it does not see the result of {missing[0]}" if missing else ""


def _in_project(root: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """In the worker's process: call `function` for the project in `root`."""
    os.environ["BERTPRUNE_ROOT"] = root
    for name in _DASKS_OWN:
        os.environ.pop(name, None)
    return function(*arguments)


_pool: ProcessPoolExecutor | None = None
_pid = 0
_beginning = threading.Lock()


def _process() -> ProcessPoolExecutor:
    """The process that does the work; it is started when it is first needed."""
    global _pool, _pid
    with _beginning:
        if _pool is None:
            # Python lets no daemon have processes of its own, which a Dask worker may be.
            multiprocessing.current_process().daemon = False
            # Others may work on the same machine.
            os.environ.setdefault("OMP_WAIT_POLICY", "passive")
            pool = local_workers(1)
            # Who ends it has to know which it is: 0 would be all of this one's process group.
            _pid = pool.submit(os.getpid).result()
            _pool = pool
        return _pool


def _end_process() -> None:
    """End it, and with it its kernel: a training goes on elsewhere from its last checkpoint."""
    global _pool
    pool, _pool = _pool, None
    if pool is not None:
        with suppress(ProcessLookupError):
            os.kill(_pid, signal.SIGKILL)
        pool.shutdown(wait=False, cancel_futures=True)


def _that_ends_process() -> distributed.WorkerPlugin:
    """A plugin that ends the process when its worker closes. Python waits for all processes that a
    worker has started, so one that reached its lifetime would stay until it is killed."""
    # It takes a second, and is there only with the extra `cluster`.
    from distributed import WorkerPlugin

    class EndsProcess(WorkerPlugin):
        def teardown(self, worker: distributed.Worker) -> None:
            _end_process()

    return EndsProcess()
