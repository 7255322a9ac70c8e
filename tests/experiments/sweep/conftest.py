"""A plan whose runs leave a record at once, without a kernel, and workers that are threads of this
process, so that what they execute can be replaced."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bertprune.experiments import execution, studies
from bertprune.experiments.runs import Run, lineage
from bertprune.experiments.sweep import crew, on_worker

from ...finished import write_record


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were executed, in order; each leaves a record, but runs nothing."""
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    (tmp_path / "notebooks").symlink_to(Path(__file__).parents[3] / "notebooks")
    order: list[str] = []

    def execute(run: Run, *, threads: int, forked: bool, wait: bool) -> bool:
        assert not wait
        if run.is_current():
            return False
        assert all(upstream.is_done() for upstream in lineage(run))
        order.append(run.id)
        write_record(run)
        if run.parameters.leaves_model():
            run.model_folder.mkdir(exist_ok=True)
        return True

    monkeypatch.setattr(execution, "execute", execute)
    return order


@pytest.fixture
def plan(executed: list[str]) -> list[Run]:
    return studies.load("ci", ["sparsity=[0.0, 0.5]"]).plan()


Workers = Callable[..., str]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Starts a cluster of so many workers, each with so many threads; gives its address."""
    distributed = pytest.importorskip("distributed")
    started: list[Any] = []
    pools: list[Executor] = [ThreadPoolExecutor(4)]
    monkeypatch.setattr(on_worker, "_process", lambda: pools[0])
    monkeypatch.setattr(crew, "_SECONDS_BETWEEN_LOOKS", 0.1)

    def start(number: int, threads: int = 1, **options: Any) -> str:
        made = distributed.LocalCluster(
            n_workers=number,
            threads_per_worker=threads,
            processes=False,
            protocol="tcp://",
            dashboard_address=":0",
            **options,
        )
        started.append(made)
        return str(made.scheduler_address)

    yield start
    for one in started:
        one.close()
    pools[0].shutdown()
