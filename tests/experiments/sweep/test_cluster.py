"""A cluster as an executor: what is lost goes on, what fails does not, what is too much is said."""

import re
import threading
from concurrent.futures import wait
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from bertprune.base.errors import UserError
from bertprune.cli import main
from bertprune.experiments import execution
from bertprune.experiments.execution import KernelKilled
from bertprune.experiments.lock import InWork
from bertprune.experiments.runs import Run
from bertprune.experiments.sweep import admission, crew, on_worker
from bertprune.experiments.sweep import cluster as clusters
from bertprune.experiments.sweep.cluster import MOST_TRIES, cluster
from bertprune.experiments.sweep.scheduling import Outcome, sweep
from bertprune.experiments.sweep.task import Task
from bertprune.protocol.notebook_parameters import BurnIn, Finetune
from bertprune.speed.cost import amounts_of_work

from .conftest import Workers

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def _sweep(address: str, plan: list[Run], size_bytes: float = 1e6) -> Outcome:
    with cluster(address, plan, lambda run, on_gpu: size_bytes) as executor:
        assert not executor.trains_on_gpu
        return sweep(plan, executor, dict.fromkeys(plan, 1))


def test_each_run_once_under_its_own_name(
    plan: list[Run], executed: list[str], workers: Workers
) -> None:
    address = workers(2)
    with cluster(address, plan, lambda run, on_gpu: 1e6) as executor:
        outcome = sweep(plan, executor, dict.fromkeys(plan, 1))
        events = executor._client.get_events(executor._topic)
    ids = sorted(run.id for run in plan)
    assert sorted(executed) == sorted(outcome.done) == ids
    assert sorted(said["key"] for _, said in events) == ids
    assert _sweep(address, plan).skipped == [run.id for run in plan]
    # Nothing of the sweep itself is left.
    assert not list(Path(plan[0].partial_folder).parent.glob("cluster-*"))


def test_threads_of_the_command_are_those_of_the_runs(
    plan: list[Run], executed: list[str], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = execution.execute
    found: list[int] = []

    def note(run: Run, *, threads: int, **options: Any) -> bool:
        found.append(threads)
        return works(run, threads=threads, **options)

    monkeypatch.setattr(execution, "execute", note)
    monkeypatch.setattr(admission, "usable_cores", lambda: 3)
    changes = ["--set", "sparsity=[0.0, 0.5]"]
    assert main(["sweep", "ci", *changes, "--cluster", workers(1), "--threads", "3"]) == 0
    assert found == [3] * len(plan)


def test_workers_with_fewer_cores_than_threads_are_refused(
    executed: list[str],
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(crew, "SECONDS_OF_PATIENCE", 0.3)
    monkeypatch.setattr(admission, "usable_cores", lambda: 3)
    assert main(["sweep", "ci", "--cluster", workers(1), "--threads", "4"]) == 2
    said = capsys.readouterr().err
    assert "the worker 0 (tcp" in said and "3 cores, and --threads gives each run 4" in said


def test_a_mistake_is_not_tried_again(
    plan: list[Run], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def fail(run: Run, **_: Any) -> bool:
        tries.append(run.id)
        raise UserError("out of luck")

    monkeypatch.setattr(execution, "execute", fail)
    outcome = _sweep(workers(2), plan)
    assert len(tries) == len(set(tries)) < len(outcome.failed) == len(plan)
    assert {outcome.failed[name] for name in tries} == {"out of luck"}


@pytest.mark.parametrize("times", [1, MOST_TRIES - 1, MOST_TRIES])
def test_what_is_lost_goes_on_three_times(
    plan: list[Run],
    executed: list[str],
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    works = execution.execute
    tries: list[str] = []
    first = plan[0]

    def lose(run: Run, **options: Any) -> bool:
        if run.id == first.id and len(tries) < times:
            tries.append(run.id)
            raise KernelKilled("its kernel was killed")
        return works(run, **options)

    monkeypatch.setattr(execution, "execute", lose)
    outcome = _sweep(workers(1), plan)
    assert len(tries) == times
    if times < MOST_TRIES:
        assert sorted(outcome.done) == sorted(run.id for run in plan)
    else:
        said = outcome.failed[first.id]
        assert f"begun {MOST_TRIES} times" in said and said.count(" on ") >= MOST_TRIES


def test_what_nobody_could_take_is_taken_by_who_is_admitted_later(
    plan: list[Run], executed: list[str], workers: Workers
) -> None:
    with cluster(workers(1), plan, lambda run, on_gpu: 1e6) as executor:
        # As one is that has come in the place of a lost one, and was not greeted yet.
        executor._client.run(on_worker.take, {crew.BYTES: 0.0})
        outcome = executor.submit(Task((plan[0].parameters,), 1, 1))
        assert not wait([outcome], 1.0).done
        executor._crew._members.clear()
        assert outcome.result(timeout=60)
    assert executed == [plan[0].id]


def test_an_answer_that_is_lost_with_its_worker_is_waited_for(
    plan: list[Run], executed: list[str], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = distributed.Future.result
    lost: list[str] = []

    def lose_first(future: Any, timeout: float) -> Any:
        if not lost:
            lost.append(future.key)
            # As Dask says so, and that it was done once more.
            future._state.lose()
            threading.Timer(1.0, future._state.finish).start()
            raise TimeoutError
        return result(future, timeout)

    monkeypatch.setattr(distributed.Future, "result", lose_first)
    assert sorted(_sweep(workers(1), plan).done) == sorted(run.id for run in plan)
    assert len(lost) == 1


def test_waiting_for_another_sweep_is_no_try(
    plan: list[Run], executed: list[str], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = execution.execute
    tries: list[str] = []

    def in_work(run: Run, **options: Any) -> bool:
        if run.id == plan[0].id and len(tries) <= MOST_TRIES:
            tries.append(run.id)
            raise InWork("by another")
        return works(run, **options)

    monkeypatch.setattr(execution, "execute", in_work)
    assert sorted(_sweep(workers(1), plan).done) == sorted(run.id for run in plan)


def test_waiting_for_another_sweep_takes_no_try_back(
    plan: list[Run], executed: list[str], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another sweep takes the run each time that it was lost, and gives it up."""
    works = execution.execute
    lost: list[str] = []
    ends = cycle([KernelKilled("its kernel was killed"), InWork("by another")])

    def lose(run: Run, **options: Any) -> bool:
        if run.id != plan[0].id or len(lost) > MOST_TRIES:
            return works(run, **options)
        end = next(ends)
        if isinstance(end, KernelKilled):
            lost.append(run.id)
        raise end

    monkeypatch.setattr(execution, "execute", lose)
    said = _sweep(workers(1), plan).failed[plan[0].id]
    assert len(lost) == MOST_TRIES and f"begun {MOST_TRIES} times" in said


def test_what_no_worker_can_meet_is_said(
    plan: list[Run], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "SECONDS_OF_PATIENCE", 0.3)
    outcome = _sweep(workers(2, memory_limit="2GB"), plan, size_bytes=7e9)
    said = outcome.failed[plan[0].id]
    assert "asks for 7.0 GB of memory" in said and "none of 2 workers" in said and "2.0 GB" in said


def test_the_memory_that_is_asked_for_is_what_cost_says(
    plan: list[Run],
    executed: list[str],
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """7 GB for what starts the study; nothing is known of the others, which start from it."""

    def memory(p: BurnIn, *, on_gpu: bool) -> float:
        assert not on_gpu
        if p == plan[0].parameters:
            return 7e9
        raise UserError("its task is not at hand")

    monkeypatch.setattr(amounts_of_work, "memory_bytes", memory)
    monkeypatch.setattr(clusters, "SECONDS_OF_PATIENCE", 0.3)
    changes = ["--set", "sparsity=[0.0, 0.5]"]
    address = workers(1, memory_limit="2GB")
    assert main(["sweep", "ci", *changes, "--cluster", address]) == 1
    said = capsys.readouterr().err
    assert f"{plan[0].id} asks for 7.0 GB" in said and said.count("asks for") == 2


@pytest.mark.parametrize(
    ("runs", "at_once", "rates", "models"),
    [(1, 4, 2, 1), (4, 3, 1, 3), (2, 3, 1, 2), (2, 8, 3, 6), (2, 4, 3, 4)],
)
def test_a_stack_asks_for_the_memory_of_all_its_models(
    plan: list[Run], workers: Workers, runs: int, at_once: int, rates: int, models: int
) -> None:
    tuned = Finetune(learning_rates=tuple(1e-3 * (one + 1) for one in range(rates)))
    task = Task(tuple(tuned.replace(seed=seed) for seed in range(runs)), 1, at_once)
    with cluster(workers(1), plan, lambda run, on_gpu: 5e9) as executor:
        assert executor._asked_by(task)[crew.BYTES] == models * 5e9


def test_workers_of_several_threads_are_refused(
    plan: list[Run], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "SECONDS_OF_PATIENCE", 0.3)
    with pytest.raises(UserError, match="2 threads.*dask worker tcp.* --nthreads 1 --nworkers 2"):
        _sweep(workers(1, threads=2), plan)


def test_where_nobody_comes_it_is_said(
    plan: list[Run], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "SECONDS_OF_PATIENCE", 0.3)
    with pytest.raises(UserError, match="no worker is there.*dask worker"):
        _sweep(workers(0), plan)


def test_a_worker_that_sees_something_else_is_left_out(
    plan: list[Run],
    executed: list[str],
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of two, the one that is asked first says that it has other data; the other does it all."""
    refused: list[str] = []
    answer = on_worker._answer

    def other_data(order: on_worker.Order) -> on_worker.Answer:
        if not refused:
            refused.append("")
            return on_worker.Answer(on_worker.What.REFUSED, "it has data text 1 where ...")
        return answer(order)

    monkeypatch.setattr(on_worker, "_answer", other_data)
    assert sorted(_sweep(workers(2), plan).done) == sorted(run.id for run in plan)
    assert re.search(
        r"error: the worker tcp://\S+ \(tcp://\S+\) is refused: it has data text 1 where",
        capsys.readouterr().err,
    )


def test_a_lost_scheduler_ends_the_sweep(
    plan: list[Run], executed: list[str], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = workers(1)
    with cluster(address, plan, lambda run, on_gpu: 1.0) as executor:
        monkeypatch.setattr(executor._crew, "look", lambda: (_ for _ in ()).throw(OSError("gone")))
        monkeypatch.setattr(clusters, "_SECONDS_BETWEEN_LOOKS_AT_CREW", 0.0)
        monkeypatch.setattr(execution, "execute", lambda run, **_: __import__("time").sleep(1))
        with pytest.raises(UserError, match="the scheduler at tcp.* is lost.*same command again"):
            sweep(plan, executor, dict.fromkeys(plan, 1))
