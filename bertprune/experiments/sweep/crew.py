"""The workers of a Dask cluster that may work for a sweep, and what each of them has."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
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
        # Who comes first decides where all train: on GPUs, if it has one.
        self._first: Worker | None = None

    def wait_for_first(self) -> None:
        """Wait until somebody may work.

        Raises UserError where workers are there and none may, or where nobody comes and no queue
        will bring one.
        """
        end = time.monotonic() + SECONDS_OF_PATIENCE
        self.look()
        if self._place.has_queue and not self._members:
            print("waiting for the first worker to come out of the queue", file=sys.stderr)
        while not self._members:
            if self._refused:
                raise UserError(next(iter(self._refused.values())))
            if time.monotonic() > end and not self._place.has_queue:
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
        new = {
            address: said
            for address, said in there.items()
            if address not in self._members and address not in self._refused
        }
        for address, said in new.items():
            if said["nthreads"] > 1:
                self._refuse(
                    address,
                    said,
                    f"it has {said['nthreads']} threads, and a run needs a process of its own: "
                    f"start it with `{self._command(said['nthreads'])}`",
                )
        self._greet({one: said for one, said in new.items() if one not in self._refused})
        return not new.keys().isdisjoint(self._members)

    def _greet(self, new: Mapping[str, Mapping[str, Any]]) -> None:
        if not new:
            return
        answers = self._client.run(
            on_worker.greet, *self._greeting, workers=list(new), on_error="return"
        )
        for address in sorted(new, key=lambda one: GPU not in new[one]["resources"]):
            answer, said = answers.get(address), new[address]
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
        taken = self._client.run(
            on_worker.take, {BYTES: float(limit)}, workers=[address], on_error="return"
        )
        if isinstance(taken.get(address), Exception):
            # It is gone, or is asked again.
            return
        self._members[address] = {**said["resources"], BYTES: float(limit)}
        self._first = self._first or worker

    def _refuse(self, address: str, said: Mapping[str, Any], why: str) -> None:
        words = f"the worker {said['name']} ({address}) is refused: {why}"
        self._refused[address] = words
        progress.Bar.write(f"error: {words}", file=sys.stderr)

    def dismiss(self, address: str, why: str) -> None:
        """Give no more tasks to the worker at `address`, which was found out to be wrong."""
        if address in self._members:
            del self._members[address]
            self._client.run(on_worker.take, {BYTES: 0.0}, workers=[address], on_error="ignore")
            self._refuse(address, {"name": address}, why)

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
