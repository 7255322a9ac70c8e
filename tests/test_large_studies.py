"""Commands stay usable with thousands of runs: what they take grows with the runs, and no faster.

It takes an hour on two cores, so it is not in the default run: `pytest -m slow -s` shows what was
measured.
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
    """Seconds of processor time that a command takes, and GB of memory at most."""
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
    found = {}
    for runs, seeds in SEEDS.items():
        root = tmp_path / runs
        made_up_runs.make(root, seeds, ci_project)
        for command in COMMANDS:
            seconds, gigabytes = found[command, runs] = _measured(root, seeds, command)
            print(f"{runs} runs, {command}: {seconds:.1f} s of processor time, {gigabytes:.2f} GB")
    for command in COMMANDS:
        seconds = {runs: found[command, runs][0] for runs in SEEDS}
        assert seconds["1,000"] < 12 * seconds["100"]
        # Linear: a run of the largest study takes no more than one of the second largest.
        a_run = (seconds["1,000"] - seconds["300"]) / 700
        assert seconds["3,000"] - seconds["1,000"] < 1.5 * 2000 * a_run
        assert found[command, "3,000"][1] < 4
