"""Commands stay usable with thousands of runs: what they take grows with the runs, and no faster.

It takes some five minutes on two cores, so it is not in the default run: `pytest -m slow -s` shows
what was measured.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import made_up_runs

SEEDS = {"100": 2, "300": 6, "1,000": 20, "3,000": 60}
"""Of studies with so many runs, or a few more."""

COMMANDS = ("sweep --dry-run", "status", "results", "ledger")


def _measured(root: Path, seeds: int, command: str) -> tuple[float, float]:
    """Seconds of processor time that a command takes, and GB of memory at most: the less of two
    times, since others on the machine only add to it."""
    seconds, gigabytes = zip(*(_once(root, seeds, command) for _ in range(2)), strict=True)
    return min(seconds), max(gigabytes)


def _once(root: Path, seeds: int, command: str) -> tuple[float, float]:
    changes = (word for change in made_up_runs.of_seeds(seeds) for word in ("--set", change))
    name, *options = command.split()
    process = subprocess.Popen(
        [sys.executable, "-m", "bertprune", name, "ci", *changes, *options],
        env=os.environ | {"BERTPRUNE_ROOT": str(root)},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    # Linux counts in kB.
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


@pytest.mark.slow
def test_costs_grow_with_the_runs(
    ci_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(ci_project))
    seconds: dict[str, dict[str, float]] = {command: {} for command in COMMANDS}
    for runs, seeds in SEEDS.items():
        root = tmp_path / runs
        made_up_runs.make(root, seeds, ci_project)
        for command in COMMANDS:
            taken, gigabytes = _measured(root, seeds, command)
            print(f"{runs} runs, {command}: {taken:.1f} s of processor time, {gigabytes:.2f} GB")
            seconds[command][runs] = taken
            assert gigabytes < 4
    for of in seconds.values():
        assert of["1,000"] < 12 * of["100"]
        # Linear: a further run takes no longer among thousands than among hundreds.
        of_a_run = (of["1,000"] - of["100"]) / 900
        assert of["3,000"] - of["1,000"] < 1.5 * 2000 * of_a_run
