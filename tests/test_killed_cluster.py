"""Workers, the scheduler and the sweep are killed at random moments: no finished run is repeated,
none is lost, and the rows are those of a sweep on one machine.

It takes half an hour on two cores, so it is not in the default run: `pytest -m slow`. How many
kills there are, and how many seeds the study has, can be said (BERTPRUNE_KILLS, BERTPRUNE_SEEDS).
"""

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import nbformat
import pytest

from bertprune.experiments import studies
from bertprune.experiments.timekeeping import read_if_whole

from .dask_processes import Processes, processes, records, rows, swept
from .small_project import project

pytest.importorskip("distributed")

KILLS = int(os.environ.get("BERTPRUNE_KILLS", "50"))
SEEDS = int(os.environ.get("BERTPRUNE_SEEDS", "13"))
SPARSITIES = (0.0, 0.3, 0.6, 0.9)
# Some seconds of training each, so that kills meet it.
STEPS = {"pretrain_steps": 1500, "ramp_steps": 300, "epochs": 30}
# A kill comes so long after a training was seen, which may be in another run by then.
MOST_SECONDS = 5.0
# What a machine is told that is taken back, and how it ends if it does not listen.
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)

# Checkpoints are half a minute apart, longer than these trainings take; and each training that goes
# on from one is noted.
SAVES_OFTEN = """
from bertprune.base import paths
from bertprune.training import checkpoint

def load(self, found=checkpoint.Checkpoint.load):
    step, courses = found(self)
    if step:
        with (paths.root() / "went_on.txt").open("a") as file:
            print(self._file.parent, step, file=file)
    return step, courses

checkpoint.Checkpoint.load = load
checkpoint._SECONDS_BETWEEN_CHECKPOINTS = 0.5
checkpoint._SAVING_SHARE = 0.2
"""


def _shorten(root: Path, cell: str = "") -> None:
    """Leave of the project's notebooks what gives rows, with a `cell` before it: to draw takes
    longer than these trainings."""
    for file in root.glob("notebooks/*.ipynb"):
        notebook = nbformat.read(file, as_version=4)
        code = [one for one in notebook.cells if one.cell_type == "code"]
        works = [number for number, one in enumerate(code) if "run.work()" in one.source]
        if works:
            parameters, *others = code[: works[0] + 1]
            notebook.cells = [parameters, nbformat.v4.new_code_cell(cell), *others]
            nbformat.write(notebook, file)


def _written(root: Path) -> dict[str, int]:
    return {name: file.stat().st_mtime_ns for name, file in records(root).items()}


def _is_training(root: Path) -> bool:
    """Whether a training has said in the last seconds how far it is."""
    files = root.glob("runs/.partial/*/progress.json")
    return any(time.time() - read_if_whole(file).get("time", 0.0) < 5.0 for file in files)


def _kill_one(those: Processes, chance: random.Random) -> tuple[str, str] | None:
    """Kill a worker, twice as often as the scheduler or the sweep; gives what, and how."""
    name = chance.choice([*those.workers, *those.workers, "scheduler", "sweep"])
    number = chance.choice(SIGNALS if name in those.workers else SIGNALS[:2])
    if not those.is_running(name):
        return None
    those.kill(name, number)
    return name.split()[0], number.name


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, plain = (
        project(tmp_path / name, SPARSITIES, SEEDS, **STEPS) for name in ("killed", "plain")
    )
    _shorten(root, SAVES_OFTEN)
    _shorten(plain)
    note = root / "went_on.txt"
    chance = random.Random(0)
    killed: Counter[tuple[str, str]] = Counter()
    seen: dict[str, int] = {}
    began = time.monotonic()
    with processes(root, workers=3) as those:
        while those.code("sweep") != 0:
            those.keep_up_cluster()
            if not those.is_running("sweep"):
                those.sweep("killed", "--cluster", str(those.file))
            is_due = killed.total() < KILLS and _is_training(root)
            time.sleep(chance.uniform(0.0, MOST_SECONDS) if is_due else 1.0)
            written = _written(root)
            assert seen.items() <= written.items(), "a finished run was repeated"
            seen = written
            if is_due and (one := _kill_one(those, chance)):
                killed[one] += 1
        seconds = time.monotonic() - began
    assert killed.total() == KILLS
    monkeypatch.setenv("BERTPRUNE_ROOT", str(root))
    assert sorted(seen) == sorted(run.id for run in studies.load("killed").plan())
    tries = Counter(json.loads(file.read_text("utf-8"))["tries"] for file in records(root).values())
    went_on = note.read_text("utf-8").splitlines() if note.exists() else []
    print(f"{len(seen)} runs in {seconds:.0f} s; {dict(killed)}; runs by tries: {dict(tries)}")
    print(f"{len(went_on)} trainings went on from a checkpoint, {len(set(went_on))} places in all")
    # The kills met trainings: so many were begun once more, and went on.
    assert sum((often - 1) * number for often, number in tries.items()) >= KILLS // 5
    assert len(went_on) >= KILLS // 10
    swept(plain, "killed", "--threads", "1")
    assert rows(root) == rows(plain)
