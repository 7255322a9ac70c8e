"""The commands of the page On a cluster, given as they stand there."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bertprune.experiments import studies

from ...finished import write_record

pytest.importorskip("distributed")

PAGE = Path(__file__).parents[3] / "book" / "on_a_cluster.md"
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
]
IN_THE_BACKGROUND = [line for line in COMMANDS if line.startswith("dask ")]
SWEEPS = [line for line in COMMANDS if line.startswith("bertprune sweep ci ")]

# A queue with machines free: a job begins when it is submitted.
SBATCH = """
import subprocess, sys
script = open(sys.argv[1]).read()
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
job = subprocess.Popen(["bash", "-c", script], start_new_session=True, **quiet)
print("Submitted batch job", job.pid)
"""
SCANCEL = """
import os, signal, sys
os.killpg(int(sys.argv[1]), signal.SIGTERM)
"""


def test_a_run_is_executed_in_the_queue_of_the_page(
    executed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a small study instead of `english`, all but one run of which is done, and without the GPU
    that is not here."""
    first, *others = studies.load("ci").plan()
    for run in others:
        write_record(run)
        run.model_folder.mkdir(exist_ok=True)
    (line,) = (line for line in COMMANDS if "--cluster slurm" in line)
    words = ["ci" if word == "english" else word for word in shlex.split(line)]
    words[words.index("precision=bf16")] = f"precision={first.precision}"
    text = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    described = yaml.safe_load(text.replace(', "--resources", "GPU=1"', ""))
    described["jobqueue"]["slurm"]["scheduler-options"] = {"dashboard_address": ":0"}
    (tmp_path / "jobqueue.yaml").write_text(yaml.safe_dump(described))
    for name, does in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        command = tmp_path / name
        command.write_text(f"#!{sys.executable}{does}")
        command.chmod(0o755)
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "1 worker at tcp://" in done.stdout
    assert f"1 executed, {len(others)} done before, 0 failed" in done.stdout
    record = json.loads((first.folder / "record.json").read_text("utf-8"))
    assert record["threads"] == 1


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
