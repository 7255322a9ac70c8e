"""Who may work beside whom, and what is said of those who may not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bertprune.experiments.lock import locked
from bertprune.experiments.runs import Run
from bertprune.experiments.sweep import admission
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
            assert crew.look() and len(crew) == 3
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
            assert not crew.look() and len(crew) == 1
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
            assert not crew.look() and len(crew) == 1
    said = capsys.readouterr().err
    assert "its processor multiplies by oneDNN with AVX512" in said and "by MKL with AVX2" in said
