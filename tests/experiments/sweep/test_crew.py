"""Who may work beside whom, and what is said of those who may not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from bertprune.base.errors import UserError
from bertprune.experiments.lock import locked
from bertprune.experiments.runs import Run
from bertprune.experiments.sweep import admission, on_worker
from bertprune.experiments.sweep import crew as crews
from bertprune.experiments.sweep.crew import BYTES, GPU, Crew
from bertprune.experiments.sweep.places import Place

from .conftest import Workers

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@contextmanager
def _crew(address: str, plan: list[Run], *, has_queue: bool = False) -> Iterator[Crew]:
    lock = plan[0].partial_folder.with_name("sweep.lock")
    with locked("sweep", lock), distributed.Client(address, set_as_default=False) as client:
        yield Crew(Place(client, has_queue), plan, lock, threads=1)


@contextmanager
def _joined(crew: Crew, **options: Any) -> Iterator[None]:
    """While a worker more is there."""

    async def join() -> Any:
        return await distributed.Worker(crew._client.scheduler.address, nthreads=1, **options)

    worker = crew._client.sync(join)
    try:
        yield
    finally:
        crew._client.sync(worker.close)


def _look(crew: Crew) -> bool:
    """Look until all have answered."""
    admitted = crew.look()
    while crew._asked:
        admitted |= crew.look()
    return admitted


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The GPU that torch finds at a worker which is asked."""
    found = [""]
    monkeypatch.setattr(admission, "gpu_name", lambda: found[0])
    return found


def test_trainings_ask_for_a_gpu_where_workers_have_one_and_others_make_pages(
    plan: list[Run], workers: Workers, card: list[str]
) -> None:
    card[0] = "H100"
    with _crew(workers(2, resources={GPU: 1}), plan) as crew:
        crew.wait_for_first()
        assert crew.trains_on_gpu and crew.to_train(1e9) == {BYTES: 1e9, GPU: 1.0}
        assert crew.can_meet(crew.to_train(1.0))
        card[0] = ""
        with _joined(crew):
            assert _look(crew) and len(crew) == 3
            assert crew.trains_on_gpu


@pytest.mark.parametrize(
    ("has", "said"),
    [
        ({GPU: 1}, r"has a GPU \(H100\), and this sweep trains on processors.*same command"),
        ({}, r"has a GPU \(H100\) that it was not started with: .*--resources GPU=1"),
    ],
)
def test_gpus_and_processors_do_not_train_side_by_side(
    plan: list[Run],
    workers: Workers,
    card: list[str],
    capsys: pytest.CaptureFixture[str],
    has: dict[str, float],
    said: str,
) -> None:
    with _crew(workers(1), plan) as crew:
        crew.wait_for_first()
        card[0] = "H100"
        with _joined(crew, name="node7", resources=has):
            assert not _look(crew) and len(crew) == 1
        assert not crew.trains_on_gpu and GPU not in crew.to_train(1.0)
    with pytest.raises(AssertionError, match=rf"the worker node7 \(tcp.*\) is refused: it {said}"):
        raise AssertionError(capsys.readouterr().err)


def test_processors_that_round_in_other_ways_do_not_train_side_by_side(
    plan: list[Run],
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(admission, "_products", lambda: "MKL with AVX2")
    with _crew(workers(1), plan) as crew:
        crew.wait_for_first()
        monkeypatch.setattr(admission, "_products", lambda: "oneDNN with AVX512")
        with _joined(crew, name="node7"):
            assert not _look(crew) and len(crew) == 1
    said = capsys.readouterr().err
    assert "its processor multiplies by oneDNN with AVX512" in said and "by MKL with AVX2" in said


def _other_torch(plan: list[Run]) -> admission.Edition:
    return replace(admission.edition(plan), versions={"torch": "1.0"})


def _lacks_papermill(runs: object, lock: object) -> None:
    raise ModuleNotFoundError("No module named 'papermill'")


def _broken(runs: object, lock: object) -> None:
    raise ValueError("out of luck")


@pytest.mark.parametrize(
    ("module", "name", "instead", "said"),
    [
        (crews, "edition", _other_torch, r"it has versions torch \S+ where this machine has 1\.0"),
        (
            on_worker,
            "introduce",
            _lacks_papermill,
            r"it cannot import .*papermill.*start it with `.*dask",
        ),
        (on_worker, "introduce", _broken, "it could not be asked what it has: .*out of luck"),
    ],
)
def test_why_a_worker_is_refused_is_said_at_once_and_in_the_end(
    plan: list[Run],
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: Any,
    name: str,
    instead: Any,
    said: str,
) -> None:
    monkeypatch.setattr(crews, "SECONDS_OF_PATIENCE", 0.3)
    monkeypatch.setattr(module, name, instead)
    refused = rf"the worker 0 \(tcp://\S+\) is refused: {said}"
    with _crew(workers(1), plan) as crew, pytest.raises(UserError, match=refused):
        crew.wait_for_first()
    with pytest.raises(AssertionError, match=rf"^error: {refused}"):
        raise AssertionError(capsys.readouterr().err)


def test_others_are_waited_for_where_the_first_one_is_refused(
    plan: list[Run], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _crew(workers(1), plan) as crew:
        with monkeypatch.context() as first:
            first.setattr(on_worker, "introduce", _lacks_papermill)
            assert not _look(crew)
        assert len(crew._refused) == 1
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(crew.wait_for_first)
            assert not wait([waiting], 0.5).done
            with _joined(crew):
                waiting.result(timeout=30)
                assert len(crew) == 1


def test_a_worker_that_says_nothing_keeps_nobody_waiting(
    plan: list[Run],
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(crews, "SECONDS_OF_PATIENCE", 0.3)
    go_on = Event()
    with _crew(workers(1), plan) as crew:
        with monkeypatch.context() as first:
            first.setattr(on_worker, "introduce", lambda runs, lock: go_on.wait(20))
            assert not crew.look()
        with _joined(crew):
            crew.wait_for_first()
            assert len(crew) == 1 and not go_on.is_set()
            monkeypatch.setattr(crews, "_SECONDS_TO_ANSWER", 0.0)
            crew.look()
            go_on.set()
    assert "is refused: it did not say in 0 seconds what it has" in capsys.readouterr().err


def test_a_queue_that_brings_nobody_is_said_with_its_jobs(
    plan: list[Run],
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(crews, "SECONDS_OF_PATIENCE", 0.1)
    with _crew(workers(0), plan, has_queue=True) as crew:
        jobs = {"0": SimpleNamespace(job_id="4711"), "1": SimpleNamespace(job_id="4712")}
        crew._client.cluster = SimpleNamespace(workers=jobs)
        crew.look()
        assert not capsys.readouterr().err
        monkeypatch.setattr(crews, "_SECONDS_BETWEEN_WORDS", 0.0)
        crew.look()
        crew._client.cluster = None
    assert "no worker is out of the queue; jobs: 4711, 4712" in capsys.readouterr().err
