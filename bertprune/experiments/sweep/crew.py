"""The workers of a Dask cluster that may work for a sweep, and what each of them has."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

from bertprune.base import paths, progress
from bertprune.base.errors import UserError
from bertprune.experiments.runs import Run
from bertprune.experiments.sweep import on_worker
from bertprune.experiments.sweep.admission import (
    Worker,
    edition,
    refusal,
    refusal_beside,
    samples_of,
)
from bertprune.experiments.sweep.places import Place

# What a task asks of a worker, in Dask's words. The first one a worker has only if it may work.
BYTES, GPU = "bertprune-bytes", "GPU"

SECONDS_OF_PATIENCE = 50.0
"""How long a request waits for a worker that could meet it, where no queue will bring one."""

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_WORDS = 60.0

# Torch comes over a network, and takes that long the first time.
_SECONDS_TO_ANSWER = 300.0
_SECONDS_TO_TAKE = 20.0
_UNLIMITED = float(1 << 62)

Amounts = Mapping[str, float]


class Crew:
    """Who may work for the sweep of `plan`, whose runs have so many `threads`, and which holds the
    lock on the file `lock`."""

    def __init__(self, place: Place, plan: Sequence[Run], lock: Path, threads: int) -> None:
        self._client, self._place, self._threads = place.client, place, threads
        self._edition = edition(plan)
        self._greeting = (str(paths.root()), samples_of(plan), lock)
        # What each has, by address.
        self._members: dict[str, Amounts] = {}
        self._refused: dict[str, str] = {}
        # Since when, and what the worker will say.
        self._asked: dict[str, tuple[float, Future[Any]]] = {}
        self._last_word = time.monotonic()
        # Who comes first decides where all train: on GPUs, if it has one.
        self._first: Worker | None = None

    def wait_for_first(self) -> None:
        """Wait until somebody may work.

        Raises UserError where workers are there and none may, or where nobody comes and no queue
        will bring one. Others may still be starting when the first one is refused.
        """
        end = time.monotonic() + SECONDS_OF_PATIENCE
        self.look()
        if self._place.has_queue and not self._members:
            print("waiting for the first worker to come out of the queue", file=sys.stderr)
        while not self._members:
            if self._place.has_queue and not self._refused:
                end = time.monotonic() + SECONDS_OF_PATIENCE
            if time.monotonic() > end and not self._asked:
                raise UserError(self.nobody())
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            self.look()

    def nobody(self) -> str:
        """What to say where there are no workers."""
        refused = f" (refused: {next(reversed(self._refused.values()))})" if self._refused else ""
        return (
            f"no worker is there that may work{refused}: start some with `{self._command(1)}`, and "
            "give the same command again, to go on"
        )

    def look(self) -> bool:
        """See who has come and who has gone, and say whether anyone was admitted. Raises OSError if
        there is no scheduler any more."""
        if self._client.status != "running":
            raise ConnectionError("the scheduler is lost: start it, and give the command again")
        # Not what the client knows: that has no workers a moment after it was brought up to date.
        there = self._client.sync(self._client.scheduler.identity, n_workers=-1)["workers"]
        for gone in self._members.keys() - there.keys():
            del self._members[gone]
        for gone in self._asked.keys() - there.keys():
            self._asked.pop(gone)[1].cancel()
        before = set(self._members)
        for address in there.keys() - self._members.keys() - self._refused.keys():
            said = there[address]
            if said["nthreads"] > 1:
                self._refuse(
                    address,
                    said,
                    f"it has {said['nthreads']} threads, and a run needs a process of its own: "
                    f"start it with `{self._command(said['nthreads'])}`",
                )
            elif address not in self._asked:
                greeting = self._call(address, on_worker.greet, *self._greeting)
                self._asked[address] = time.monotonic(), greeting
        # All who are there are heard before one of them decides where to train. Later, one that
        # says nothing keeps nobody waiting.
        waits = _SECONDS_BETWEEN_LOOKS if self._first else SECONDS_OF_PATIENCE
        wait([answer for _, answer in self._asked.values()], waits)
        for address in sorted(self._asked, key=lambda one: GPU not in there[one]["resources"]):
            self._hear(address, there[address])
        self._say_of_queue()
        return not self._members.keys() <= before

    def _call(self, address: str, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """What `function` gives at the worker at `address`, or an exception."""

        async def call() -> Any:
            try:
                given = await self._client.run(
                    function, *arguments, workers=[address], on_error="return"
                )
            except OSError as error:
                return error
            return given.get(address)

        return asyncio.run_coroutine_threadsafe(call(), self._client.loop.asyncio_loop)

    def _hear(self, address: str, said: Mapping[str, Any]) -> None:
        """See to a worker that was asked what it has."""
        since, greeting = self._asked[address]
        if not greeting.done() and time.monotonic() - since < _SECONDS_TO_ANSWER:
            return
        del self._asked[address]
        if greeting.cancel():
            why = f"it did not say in {_SECONDS_TO_ANSWER:.0f} seconds what it has"
            self._refuse(address, said, f"{why}: see its log, and start it again")
            return
        answer = greeting.result()
        if isinstance(answer, ImportError):
            why = f"it cannot import what a run needs ({answer}): start it with "
            self._refuse(address, said, f"{why}`{self._command(1)}`")
        elif isinstance(answer, Worker):
            self._admit(address, said, answer)
        elif answer is not None and not isinstance(answer, OSError):
            self._refuse(address, said, f"it could not be asked what it has: {answer!r}")
        # Otherwise it is gone, or is asked again.

    def _admit(self, address: str, said: Mapping[str, Any], worker: Worker) -> None:
        says_gpu = GPU in said["resources"]
        why = refusal(worker, self._edition, says_gpu=says_gpu, threads=self._threads)
        if why := why or refusal_beside(self._first or worker, worker):
            self._refuse(address, said, why)
            return
        limit = worker.gpu_bytes or said["memory_limit"] or _UNLIMITED
        # Otherwise it is gone, or is asked again.
        if self._let_take(address, float(limit)):
            self._members[address] = {**said["resources"], BYTES: float(limit)}
            self._first = self._first or worker

    def _let_take(self, address: str, limit_bytes: float) -> bool:
        """Have the worker at `address` take tasks of so many bytes, and say whether it heard."""
        call = self._call(address, on_worker.take, {BYTES: limit_bytes})
        try:
            return not isinstance(call.result(_SECONDS_TO_TAKE), Exception)
        except TimeoutError:
            call.cancel()
            return False

    def _refuse(self, address: str, said: Mapping[str, Any], why: str) -> None:
        words = f"the worker {said['name']} ({address}) is refused: {why}"
        self._refused[address] = words
        progress.Bar.write(f"error: {words}", file=sys.stderr)

    def dismiss(self, address: str, why: str) -> None:
        """Give no more tasks to the worker at `address`, which was found out to be wrong."""
        if address in self._members:
            del self._members[address]
            self._let_take(address, 0.0)
            self._refuse(address, {"name": address}, why)

    def _say_of_queue(self) -> None:
        """Say now and then that no worker comes out of it: its jobs may wait, or fail."""
        now = time.monotonic()
        if self._members or not self._place.has_queue:
            self._last_word = now
        elif now - self._last_word > _SECONDS_BETWEEN_WORDS:
            self._last_word = now
            jobs = [str(job.job_id) for job in self._client.cluster.workers.values()]
            progress.Bar.write(
                f"no worker is out of the queue; jobs: {', '.join(jobs) or 'none'}. The queue's "
                "command, such as squeue or qstat, says how they are, their logs why they ended",
                file=sys.stderr,
            )

    def _command(self, workers: int) -> str:
        address = self._client.scheduler.address
        dask = os.path.join(os.path.dirname(sys.executable), "dask")
        return f"{dask} worker {address} --nthreads 1 --nworkers {workers}"

    def __len__(self) -> int:
        return len(self._members)

    @property
    def trains_on_gpu(self) -> bool:
        return self._first is not None and bool(self._first.gpu)

    def to_train(self, size_bytes: float) -> Amounts:
        """What a training asks for that takes `size_bytes`."""
        gpu = {GPU: 1.0} if self.trains_on_gpu else {}
        return {BYTES: max(1.0, size_bytes), **gpu}

    @staticmethod
    def for_page() -> Amounts:
        """What a page asks for whose training is done: any worker that may work."""
        return {BYTES: 1.0}

    def can_meet(self, asked: Amounts) -> bool:
        return any(
            all(has.get(name, 0.0) >= amount for name, amount in asked.items())
            for has in list(self._members.values())
        )

    def most_bytes(self) -> float:
        """The memory of the largest worker."""
        return max((has[BYTES] for has in list(self._members.values())), default=0.0)
