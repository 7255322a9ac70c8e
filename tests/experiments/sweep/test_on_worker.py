"""What becomes of a worker's process when the worker ends."""

from pathlib import Path

import pytest

from bertprune.experiments.sweep import on_worker

from ...dask_processes import processes

distributed = pytest.importorskip("distributed")


def test_a_worker_that_is_retired_ends(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    with processes(tmp_path, workers=1) as those:
        those.keep_up_cluster()
        with distributed.Client(scheduler_file=str(those.file)) as client:
            client.wait_for_workers(1, timeout=120)
            client.run(on_worker.greet, str(tmp_path), [], lock)
            client.retire_workers()
        those.wait("worker 0", timeout=30)
