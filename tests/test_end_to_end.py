"""A sweep that is killed goes on: nothing that was finished is done again, and the rows are those
of an unbroken one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from .small_project import project

RUNS = 4


def _start(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bertprune", "sweep", "killed", "--workers", "2"],
        env=os.environ | {"BERTPRUNE_ROOT": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _records(root: Path) -> dict[str, int]:
    """Finished runs, with the time that their records were written."""
    return {
        str(file.parent.relative_to(root)): file.stat().st_mtime_ns
        for file in root.glob("runs/[!.]*/*/record.json")
    }


def _rows(root: Path) -> pd.DataFrame:
    files = sorted(root.glob("runs/[!.]*/*/rows.csv"))
    return pd.concat([pd.read_csv(file).assign(run=file.parent.name) for file in files])


def test_killed_three_times(tmp_path: Path) -> None:
    whole = project(tmp_path / "whole", [0.5], 1)
    said, _ = _start(whole).communicate(timeout=300)
    assert f"{RUNS} executed, 0 done before, 0 failed" in said

    broken = project(tmp_path / "broken", [0.5], 1)
    finished: dict[str, int] = {}
    for kill in range(3):
        with _start(broken) as sweep:
            # Once in the first notebook, then whenever another one has just been finished.
            while len(_records(broken)) == len(finished) and (
                kill or not (broken / "runs").exists()
            ):
                assert sweep.poll() is None
                time.sleep(0.1)
            os.kill(sweep.pid, signal.SIGKILL)
        # Its workers and their kernels notice, and end by themselves.
        time.sleep(2)
        now = _records(broken)
        assert finished.items() <= now.items()
        finished = now
    said, _ = _start(broken).communicate(timeout=300)
    assert f"{RUNS - len(finished)} executed, {len(finished)} done before, 0 failed" in said
    assert finished.items() <= _records(broken).items()
    pd.testing.assert_frame_equal(_rows(whole), _rows(broken), check_exact=True)
    left = (broken / "runs" / ".partial").iterdir()
    assert all(file.suffix == ".lock" for file in left)
