"""Workers, the scheduler and the sweep are killed at random moments: no finished run is repeated,
none is lost, and the rows are those of a sweep on one machine.

It takes an hour on two cores, so it is not in the default run: `pytest -m slow`.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bertprune.experiments import studies

from .small_project import project

pytest.importorskip("distributed")

PYTHON = Path(sys.executable).parent
KILLS = int(os.environ.get("BERTPRUNE_KILLS", "50"))
SEEDS = int(os.environ.get("BERTPRUNE_KILLS_SEEDS", "13"))
SPARSITIES = (0.0, 0.3, 0.6, 0.9)
WORKERS = 2


class Processes:
    """A scheduler, its workers and a sweep; those that have ended are started again."""

    def __init__(self, root: Path) -> None:
        self._root, self._file = root, root / "scheduler.json"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def keep_up(self) -> int | None:
        """Start what is not running; gives how the sweep ended, if it has."""
        cluster = ["--scheduler-file", str(self._file)]
        dask = str(PYTHON / "dask")
        self._start("scheduler", dask, "scheduler", *cluster, "--no-dashboard", "--port", "0")
        for index in range(WORKERS):
            threads = ["--nthreads", "1", "--no-dashboard", "--death-timeout", "30"]
            self._start(f"worker {index}", dask, "worker", *cluster, *threads)
        ended = self._running["sweep"].poll() if "sweep" in self._running else None
        if ended != 0:
            command = ("-m", "bertprune", "sweep", "killed", "--cluster", str(self._file))
            self._start("sweep", sys.executable, *command)
        return ended

    def _start(self, name: str, *command: str) -> None:
        if name in self._running and self._running[name].poll() is None:
            return
        if name == "scheduler":
            # The file of the last one would lead nowhere.
            self._file.unlink(missing_ok=True)
        with (self._root / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self._root,
                env=os.environ | {"BERTPRUNE_ROOT": str(self._root)},
            )

    def kill(self, name: str, number: signal.Signals) -> None:
        self._running[name].send_signal(number)

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


@contextmanager
def _processes(root: Path) -> Iterator[Processes]:
    found = Processes(root)
    try:
        yield found
    finally:
        found.end()


def _records(root: Path) -> dict[str, int]:
    """Finished runs, with the time that their records were written."""
    files = root.glob("runs/[!.]*/*/record.json")
    return {str(file.parent.relative_to(root)): file.stat().st_mtime_ns for file in files}


def _rows(root: Path) -> dict[str, bytes]:
    files = root.glob("runs/[!.]*/*/rows.csv")
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, plain = (project(tmp_path / name, SPARSITIES, SEEDS) for name in ("killed", "plain"))
    chance = random.Random(0)
    seen: dict[str, int] = {}
    kills = 0
    with _processes(root) as processes:
        while processes.keep_up() != 0:
            time.sleep(chance.uniform(1.0, 20.0) if kills < KILLS else 2.0)
            records = _records(root)
            repeated = [name for name, at in seen.items() if records.get(name) != at]
            assert not repeated
            seen = records
            if kills < KILLS:
                names = [f"worker {index}" for index in range(WORKERS)]
                name = chance.choice([*names, *names, "scheduler", "sweep"])
                processes.kill(name, chance.choice([signal.SIGKILL, signal.SIGTERM]))
                kills += 1
    assert kills == KILLS
    monkeypatch.setenv("BERTPRUNE_ROOT", str(root))
    assert len(seen) == len(studies.load("killed").plan())
    subprocess.run(
        [sys.executable, "-m", "bertprune", "sweep", "killed", "--threads", "1"],
        env=os.environ | {"BERTPRUNE_ROOT": str(plain)},
        check=True,
    )
    assert _rows(root) == _rows(plain)
