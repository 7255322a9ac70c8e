"""What becomes of a worker's process when the worker ends."""

import importlib
import os
import signal
import subprocess
import sys
import time
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


# What stands for a run takes longer than all this.
LONG_WORK = """
import time

class LongWork:
    runs = ()

    def __call__(self):
        time.sleep(600)
"""


def test_work_of_a_worker_that_reaches_its_time_or_is_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "long_work.py").write_text(LONG_WORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    work = importlib.import_module("long_work").LongWork()
    order = on_worker.Order(work, str(tmp_path), [], "begun")
    with processes(tmp_path, workers=1) as those:
        those.keep_up_cluster("--lifetime", "5s")
        with distributed.Client(scheduler_file=str(those.file)) as client:

            def wait_until_begun(times: int) -> None:
                end = time.monotonic() + 60
                while len(client.get_events("begun")) < times:
                    assert time.monotonic() < end
                    time.sleep(0.1)

            future = client.submit(on_worker.carry_out, order, key="run")
            wait_until_begun(1)
            those.wait("worker 0", timeout=30)
            those.workers = ["worker 1"]
            those.keep_up_cluster()
            wait_until_begun(2)
            those.kill("worker 1", signal.SIGTERM)
            those.wait("worker 1", timeout=30)
            # Dask would give it to the next one.
            assert future.status in ("pending", "lost")


CLOSES_AT_ONCE = """
import threading, time
from bertprune.experiments.sweep import on_worker

begins = threading.Thread(target=on_worker._process)
begins.start()
while begins.is_alive():
    on_worker._end_process()
    time.sleep(0.001)
on_worker._end_process()
"""


def test_a_worker_that_closes_while_its_process_begins_kills_no_other() -> None:
    """Its shell, or all that a queue's job has, is in its process group."""
    done = subprocess.run([sys.executable, "-c", CLOSES_AT_ONCE], start_new_session=True)
    assert done.returncode == 0
