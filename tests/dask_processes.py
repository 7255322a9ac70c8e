"""Sweeps on a cluster whose scheduler and workers are processes of their own, and what sweeps leave
in a project."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PYTHON = Path(sys.executable)


class Processes:
    """The processes of a project in `root`, by name, each with a log there; those that have ended
    can be started again."""

    def __init__(self, root: Path, workers: int) -> None:
        self.root, self.file = root, root / "scheduler.json"
        self.workers = [f"worker {number}" for number in range(workers)]
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def keep_up_cluster(self, *options: str) -> None:
        """Start the scheduler and the workers that do not run, these with `options` of Dask's."""
        cluster = ("--scheduler-file", str(self.file), "--no-dashboard")
        dask = str(PYTHON.with_name("dask"))
        if not self.is_running("scheduler"):
            # The file of the last one would lead nowhere.
            self.file.unlink(missing_ok=True)
            self._start("scheduler", dask, "scheduler", *cluster, "--port", "0")
            while not self.file.exists() and self.is_running("scheduler"):
                time.sleep(0.1)
        for name in self.workers:
            if not self.is_running(name):
                alone = ("--nthreads", "1", "--death-timeout", "30")
                self._start(name, dask, "worker", *cluster, *alone, *options)

    def sweep(self, *arguments: str) -> None:
        """Start a sweep."""
        self._start("sweep", str(PYTHON), "-m", "bertprune", "sweep", *arguments)

    def is_running(self, name: str) -> bool:
        return name in self._running and self._running[name].poll() is None

    def code(self, name: str) -> int | None:
        """What the process gave when it ended; None while it runs, and before."""
        return self._running[name].poll() if name in self._running else None

    def kill(self, name: str, number: signal.Signals) -> None:
        self._running[name].send_signal(number)

    def said(self, name: str) -> str:
        return self._log(name).read_text(encoding="utf-8", errors="replace")

    def wait(self, name: str, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired if the process has not ended after so many seconds."""
        return self._running[name].wait(timeout)

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def _log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    def _start(self, name: str, *command: str) -> None:
        environment = os.environ | {"BERTPRUNE_ROOT": str(self.root)}
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.root, env=environment
            )


@contextmanager
def processes(root: Path, workers: int = 0) -> Iterator[Processes]:
    """Those of the project in `root`; all end with the block."""
    found = Processes(root, workers)
    try:
        yield found
    finally:
        found.end()


def swept(root: Path, *arguments: str) -> str:
    """What a sweep of the project in `root` said, which has to end well."""
    with processes(root) as alone:
        alone.sweep(*arguments)
        assert alone.wait("sweep") == 0, alone.said("sweep")
        return alone.said("sweep")


def records(root: Path) -> dict[str, Path]:
    """The records of the runs of a project that are done, by the run's id."""
    files = root.glob("runs/[!.]*/*/record.json")
    return {str(file.parent.relative_to(root / "runs")): file for file in files}


def rows(root: Path) -> dict[str, bytes]:
    """The rows of the runs of a project that are done, as they lie there, by the run's id."""
    return {name: file.with_name("rows.csv").read_bytes() for name, file in records(root).items()}
