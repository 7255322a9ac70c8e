"""An executor whose workers are those of a Dask cluster.

Dask gives a task that was on a lost worker to another one. What it does not do is here: how often
one is begun, what becomes of a task that no worker can take, and what is said of it.
"""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertprune.base import paths, progress
from bertprune.base.errors import UserError
from bertprune.base.words import counted, listed
from bertprune.experiments.lock import InWork, locked
from bertprune.experiments.runs import Run
from bertprune.experiments.sweep import on_worker
from bertprune.experiments.sweep.crew import BYTES, SECONDS_OF_PATIENCE, Amounts, Crew
from bertprune.experiments.sweep.on_worker import Answer, Order, What
from bertprune.experiments.sweep.places import Place, opened
from bertprune.experiments.sweep.task import Task

if TYPE_CHECKING:
    import distributed

MOST_TRIES = 4
"""A run is begun, and goes on elsewhere three times."""

_SECONDS_BETWEEN_LOOKS, _SECONDS_BETWEEN_LOOKS_AT_CREW = 0.2, 2.0
_SECONDS_TO_FETCH = 2.0

_UNDER_WAY = ("pending", "lost")
"""What Dask says of a task that it still sees to; of a lost one the answer is gone."""

Memory = Callable[[Run, bool], float]
"""How many bytes a run takes at most, of the card where it trains on a GPU."""


@contextmanager
def cluster(place: str, plan: Sequence[Run], memory: Memory, threads: int = 1) -> Iterator[Cluster]:
    """The workers at `place` (see `places.opened`), for a sweep of runs of `plan` with so many
    `threads` each.

    Raises UserError where there is no such place, or nobody there may work.
    """
    name = f"cluster-{secrets.token_hex(8)}"
    lock = paths.runs_folder() / ".partial" / f"{name}.lock"
    try:
        # That workers see this lock, and cannot take it, shows that they see the folder.
        with locked(name, lock), opened(place) as found:
            crew = Crew(found, plan, lock, threads)
            crew.wait_for_first()
            print(
                f"{counted(len(crew), 'worker')} at {found.client.scheduler.address}; "
                f"dashboard: {found.client.dashboard_link}"
            )
            with Cluster(found, crew, memory) as workers:
                yield workers
    finally:
        lock.unlink(missing_ok=True)


@dataclass
class _Ordered:
    """A task that was given to Dask, until there is an answer."""

    name: str
    """The run's id. It is found out once: Python 3.11 has a lock for a property that is cached,
    the same for all runs, so that threads that look at different ones first would wait for each
    other."""
    order: Order
    asked: Amounts
    outcome: Future[bool]
    begun_by: list[str]
    """Who has begun it and was lost, and who does it now."""
    key: str = ""
    """Of the task in Dask."""
    remote: distributed.Future | None = None
    unmet_since: float | None = None


class Cluster(Executor):
    """Gives tasks to the members of a `crew`, and looks after them."""

    def __init__(self, place: Place, crew: Crew, memory: Memory) -> None:
        self._client, self._has_queue = place.client, place.has_queue
        self._crew, self._memory = crew, memory
        self._ordered: list[_Ordered] = []
        self._submitted: Counter[str] = Counter()
        # A run that is in work elsewhere ends here, and comes again: its tries are counted on.
        self._begun_by: defaultdict[str, list[str]] = defaultdict(list)
        self._broken: BrokenExecutor | None = None
        self._ended = threading.Event()
        self._looks = ThreadPoolExecutor(1)
        self._topic = f"bertprune-{self._client.id}"
        self._client.subscribe_topic(self._topic, self._note_begin)
        threading.Thread(target=self._keep_watch, daemon=True).start()

    @property
    def trains_on_gpu(self) -> bool:
        return self._crew.trains_on_gpu

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a `Task` carried out; the future is as it would be of a local worker, or has
        BrokenExecutor where nobody is left to do it."""
        if not isinstance(fn, Task):
            raise TypeError(f"a cluster carries out tasks, not {fn!r}")
        runs = fn.runs
        identities = [run.identity for run in (*on_worker.needed_by(runs), *runs)]
        order = Order(fn, str(paths.root()), identities, self._topic)
        name = runs[0].id
        one = _Ordered(name, order, self._asked_by(fn), Future(), self._begun_by[name])
        if self._broken:
            one.outcome.set_exception(self._broken)
        else:
            self._ordered.append(one)
            self._submit(one)
        return one.outcome

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End; what is in work is given up, and goes on from its checkpoint another time."""
        self._ended.set()
        self._looks.shutdown(wait=False, cancel_futures=True)
        with suppress(Exception):
            self._client.cancel([one.remote for one in self._ordered], force=True)

    def _asked_by(self, task: Task) -> Amounts:
        runs = task.runs
        if all(run.is_trained() for run in runs):
            return self._crew.for_page()
        on_gpu = self.trains_on_gpu
        # On a GPU a stack has as many models as there is room for.
        models = 1 if on_gpu else task.models
        return self._crew.to_train(models * max(self._memory(run, on_gpu) for run in runs))

    def _submit(self, one: _Ordered) -> None:
        # Dask keeps what became of a key for a while, so a task that is given to it again has
        # another one.
        self._submitted[one.name] += 1
        again = self._submitted[one.name] - 1
        one.key = f"{one.name}, again {again}" if again else one.name
        one.remote = self._client.submit(
            on_worker.carry_out, one.order, key=one.key, resources=dict(one.asked), pure=False
        )

    def _submit_stranded_again(self) -> None:
        """Dask looks at a task that nobody could take when a worker comes. It does not when one
        that is there is given what the task asks for, as those are that the crew admits."""
        placed = {key for keys in self._client.processing().values() for key in keys}
        stranded = [
            one
            for one in self._ordered
            if one.remote and one.remote.status in _UNDER_WAY and one.key not in placed
        ]
        before = [one.remote for one in stranded]
        for one in stranded:
            self._submit(one)
        self._client.cancel(before)

    def _note_begin(self, event: tuple[float, dict[str, str]]) -> None:
        _, said = event
        for one in list(self._ordered):
            if one.key == said["key"]:
                if one.begun_by:
                    _say(f"{one.name} goes on at {said['by']}: {one.begun_by[-1]} was lost")
                one.begun_by.append(said["by"])

    def _keep_watch(self) -> None:
        # Whoever is new takes a while to say what it has, and answers shall not wait for that.
        looking = self._looks.submit(self._crew.look)
        looked = time.monotonic()
        while not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
            try:
                if looking.done() and time.monotonic() - looked > _SECONDS_BETWEEN_LOOKS_AT_CREW:
                    if looking.result():
                        self._submit_stranded_again()
                    looking = self._looks.submit(self._crew.look)
                    looked = time.monotonic()
                for one in list(self._ordered):
                    self._see_to(one)
            except Exception as error:
                self._give_up(error)
                return

    def _give_up(self, error: Exception) -> None:
        """Have all tasks end, and any that are still to come."""
        address = self._client.scheduler.address if self._client.scheduler else "its address"
        if not isinstance(error, BrokenExecutor):
            error = BrokenExecutor(
                f"the scheduler at {address} is lost ({error!r}): start it again, and give the "
                "same command again, to go on"
            )
        self._broken = error
        for one in self._ordered:
            one.outcome.set_exception(error)
        self._ordered.clear()

    def _see_to(self, one: _Ordered) -> None:
        if one.remote is None:
            # It is about to be submitted.
            return
        status = one.remote.status
        if status in _UNDER_WAY:
            self._see_to_waiting(one)
        elif status == "finished":
            # The answer lies at a worker. Where that is lost before it is fetched, the task is done
            # once more.
            try:
                answer = one.remote.result(_SECONDS_TO_FETCH)
            except TimeoutError:
                return
            self._take(one, answer)
        elif status == "error":
            self._take(one, self._answer_of_error(one.remote.exception()))
        else:
            # Dask cancels what its scheduler no longer knows of.
            raise ConnectionError(status)

    def _answer_of_error(self, error: BaseException) -> Answer:
        from distributed.scheduler import KilledWorker

        if isinstance(error, KilledWorker):
            return Answer(What.LOST, f"{error.last_worker.name} was lost")
        return Answer(What.FAILED, repr(error))

    def _take(self, one: _Ordered, answer: Answer) -> None:
        if answer.what in (What.REFUSED, What.IN_WORK) and one.begun_by:
            # That was no try.
            one.begun_by.pop()
        if answer.what == What.REFUSED:
            self._crew.dismiss(answer.worker, answer.said)
            self._submit(one)
        elif answer.what == What.LOST and len(one.begun_by) < MOST_TRIES:
            self._submit(one)
        elif answer.what == What.LOST:
            self._end(one, _too_often(one, answer.said))
        elif answer.what == What.IN_WORK:
            self._end(one, InWork(answer.said))
        elif answer.what == What.FAILED:
            self._end(one, UserError(answer.said))
        else:
            self._end(one, answer.what == What.DONE)

    def _see_to_waiting(self, one: _Ordered) -> None:
        if len(one.begun_by) > MOST_TRIES:
            one.begun_by.pop()
            self._client.cancel([one.remote])
            self._end(one, _too_often(one, "and there was none after it"))
        elif self._crew.can_meet(one.asked):
            one.unmet_since = None
        elif one.unmet_since is None:
            one.unmet_since = time.monotonic()
        elif time.monotonic() - one.unmet_since > SECONDS_OF_PATIENCE:
            self._see_to_unmet(one)

    def _see_to_unmet(self, one: _Ordered) -> None:
        if self._crew:
            self._client.cancel([one.remote])
            self._end(one, self._unmet(one))
        elif not self._has_queue:
            raise BrokenExecutor(self._crew.nobody())

    def _unmet(self, one: _Ordered) -> UserError:
        asked = listed(
            f"{amount / 1e9:.1f} GB of memory" if name == BYTES else f"a {name}"
            for name, amount in one.asked.items()
        )
        return UserError(
            f"{one.name} asks for {asked}, which none of {counted(len(self._crew), 'worker')} has; "
            f"the largest has {self._crew.most_bytes() / 1e9:.1f} GB: start a worker that does"
        )

    def _end(self, one: _Ordered, outcome: bool | UserError) -> None:
        self._ordered.remove(one)
        if not isinstance(outcome, InWork):
            del self._begun_by[one.name]
        if isinstance(outcome, UserError):
            one.outcome.set_exception(outcome)
        else:
            one.outcome.set_result(outcome)


def _too_often(one: _Ordered, said: str) -> UserError:
    return UserError(
        f"{one.name} was begun {counted(len(one.begun_by), 'time')}, and each time its worker was "
        f"lost ({said}): {listed(one.begun_by)}; give the same command again to go on from its "
        "last checkpoint"
    )


def _say(words: str) -> None:
    progress.Bar.write(words, file=sys.stderr)
