"""The commands of the page On a cluster, given as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed")

PAGE = Path(__file__).parents[3] / "book" / "on_a_cluster.md"
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
]
IN_THE_BACKGROUND = [line for line in COMMANDS if line.startswith("dask ")]
SWEEPS = [line for line in COMMANDS if line.startswith("bertprune sweep ci ")]


def test_sweeps_at_places_of_the_page(ci_project: Path) -> None:
    """The study is done: what is tried is that the workers come, and may work."""
    assert len(SWEEPS) == 2 and len(IN_THE_BACKGROUND) == 2
    environment = os.environ | {"BERTPRUNE_ROOT": str(ci_project)}
    commands = {
        "dask": [str(Path(sys.executable).parent / "dask")],
        "bertprune": [sys.executable, "-m", "bertprune"],
    }

    def full(line: str) -> list[str]:
        name, *arguments = shlex.split(line)
        return [*commands[name], *arguments]

    background = [
        subprocess.Popen(full(line), cwd=ci_project, env=environment, stderr=subprocess.DEVNULL)
        for line in IN_THE_BACKGROUND
    ]
    try:
        for line in SWEEPS:
            done = subprocess.run(
                full(line), cwd=ci_project, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            assert "2 workers at tcp://" in done.stdout and "dashboard: http" in done.stdout
            assert "0 executed" in done.stdout
    finally:
        for process in background:
            process.terminate()
        for process in background:
            process.wait()
