"""Places: what is none says what would be one, and queues get the jobs that Dask describes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from bertprune.base.errors import UserError
from bertprune.cli import main
from bertprune.experiments.sweep import places

dask = pytest.importorskip("dask")
pytest.importorskip("dask_jobqueue")
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

PAGE = Path(__file__).parents[3] / "book" / "on_a_cluster.md"
JOB = {
    "cores": 4,
    "processes": 1,
    "memory": "16GB",
    "walltime": "01:00:00",
    "queue": "long",
    "scheduler-options": {"dashboard_address": ":0"},
}
ON_GPU = {"worker-extra-args": ["--resources", "GPU=1", "--lifetime", "55m"]}


def _described(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """As Dask's configuration has it, beside its own defaults."""
    return {f"jobqueue.{name}.{key}": value for key, value in job.items()}


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file for each job of a Slurm that has no machine free."""
    folder, commands = tmp_path / "jobs", tmp_path / "bin"
    folder.mkdir()
    commands.mkdir()
    for name, does in {
        "sbatch": f'touch "{folder}/$$" && echo "Submitted batch job $$"',
        "scancel": f'rm "{folder}/$1"',
    }.items():
        (commands / name).write_text(f"#!/bin/sh\n{does}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    return folder


def _wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def _are_there(group: int) -> bool:
    """Whether a process group has any processes."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("local:", "say how many workers, as in local:4"),
        ("local:0", "say how many workers, as in local:4"),
        ("local:many", "say how many workers, as in local:4"),
        ("none.json", "there is no such scheduler file"),
        ("slrum", "no queueing system: did you mean 'slurm'"),
        ("slurm", "jobqueue.slurm in Dask's configuration describes no cluster"),
    ],
)
def test_what_is_no_place(place: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)), places.opened(place):
        pass


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(UserError, match=re.escape("pip install -e '.[cluster]'")),
        places.opened("local:2"),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("slurm", ["#SBATCH -p long", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=15G"]),
        ("pbs", ["#PBS -q long", "#PBS -l select=1:ncpus=4:mem=15GB", "#PBS -l walltime=01:00:00"]),
        ("sge", ["#$ -q long", "#$ -l h_rt=01:00:00"]),
    ],
)
def test_jobs_of_queues(name: str, lines: list[str]) -> None:
    with dask.config.set(_described(name, JOB | ON_GPU)):
        cluster = places.queue(name)
        try:
            script = cluster.job_script()
        finally:
            cluster.close()
    assert [line for line in lines if line not in script.splitlines()] == []
    worker = script.splitlines()[-1]
    assert "--resources GPU=1 --lifetime 55m" in worker and "--memory-limit" in worker
    # The last word counts: a worker does one run at a time, whatever its cores.
    assert worker.split().index("1", worker.split().index("--lifetime")) == len(worker.split()) - 1
    assert worker.endswith("--nthreads 1")


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("slurm", ["#SBATCH -p gpu", "#SBATCH -A my-group", "#SBATCH --gres=gpu:1"]),
        ("pbs", ["#PBS -q workq", "#PBS -l select=1:ncpus=4:mem=16GB"]),
    ],
)
def test_examples_of_the_page(name: str, lines: list[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    examples = [yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    (example,) = (one for one in examples if name in one["jobqueue"])
    job = example["jobqueue"][name] | {"scheduler-options": {"dashboard_address": ":0"}}
    with dask.config.set(_described(name, job)):
        cluster = places.queue(name)
        try:
            script = cluster.job_script().splitlines()
        finally:
            cluster.close()
    assert [line for line in lines if line not in script] == []
    worker = script[-1].split()
    # Dask takes no "7h30m".
    assert dask.utils.parse_timedelta(worker[worker.index("--lifetime") + 1]) > 3 * 3600
    assert script[-1].endswith("--nthreads 1")
    assert example["distributed"]["adaptive"]["maximum"] > 1


@pytest.mark.parametrize("most", [4, float("inf")])
def test_a_queue_needs_its_command_and_a_limit(
    most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if most == 4 else name)
    described = _described("slurm", JOB) | {"distributed.adaptive.maximum": most}
    said = "no command sbatch" if most == 4 else "distributed.adaptive.maximum"
    with (
        dask.config.set(described),
        pytest.raises(UserError, match=said),
        places.opened("slurm"),
    ):
        pass


def test_a_queue_has_as_many_jobs_as_tasks_within_its_limit(
    jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_SECONDS_BETWEEN_LOOKS", 0.1)
    described = _described("slurm", JOB) | {"distributed.adaptive.maximum": 2}
    with dask.config.set(described), places.opened("slurm") as place:
        assert place.has_queue
        _wait_until(lambda: len(list(jobs.iterdir())) == 1)
        waiting = place.client.map(abs, range(5))
        _wait_until(lambda: len(list(jobs.iterdir())) == 2)
        # It looks some ten times more.
        time.sleep(1.0)
        assert len(list(jobs.iterdir())) == 2
        place.client.cancel(waiting)
    assert not list(jobs.iterdir())


def test_ctrl_c_while_a_queue_is_waited_for(
    jobs: Path,
    executed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Its import takes Ctrl-C over, so it is to be imported as in a new process.
    for name in [one for one in sys.modules if one.startswith("dask_jobqueue")]:
        monkeypatch.delitem(sys.modules, name)
    described = _described("slurm", JOB) | {"distributed.adaptive.maximum": 2}

    def press_ctrl_c() -> None:
        _wait_until(lambda: bool(list(jobs.iterdir())))
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with dask.config.set(described), ThreadPoolExecutor(1) as pool:
            pool.submit(press_ctrl_c)
            assert main(["sweep", "ci", "--cluster", "slurm"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "same command again" in capsys.readouterr().err
    assert not list(jobs.iterdir())


@pytest.mark.parametrize(
    ("ours", "given"),
    [(None, ["0", "1", ""]), ("2,3", ["2", "3", ""]), ("GPU-1f,7,9", ["GPU-1f", "7", ""])],
)
def test_workers_here_get_no_cards_of_others(
    ours: str | None, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if ours is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ours)
    specified: list[Any] = []
    monkeypatch.setattr("distributed.SpecCluster", lambda **given: specified.append(given))
    places._local(3)
    options = [one["options"] for one in specified[0]["workers"].values()]
    assert [one["env"]["CUDA_VISIBLE_DEVICES"] for one in options] == given
    assert [one["resources"] for one in options] == [{"GPU": 1}, {"GPU": 1}, {}]


AT_WORK = """
import contextlib
import time
from bertprune.experiments.sweep import on_worker, places

with contextlib.suppress(KeyboardInterrupt), places.opened("local:1") as place:
    place.client.run(lambda: on_worker._process().submit(abs, 1).result())
    print("at work", flush=True)
    time.sleep(600)
"""


def test_ctrl_c_while_workers_of_this_machine_work() -> None:
    """A terminal sends Ctrl-C to all that was started in it. The workers leave it to the sweep."""
    with subprocess.Popen(
        [sys.executable, "-c", AT_WORK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as sweep:
        assert sweep.stdout and sweep.stdout.readline() == "at work\n"
        os.killpg(sweep.pid, signal.SIGINT)
        _, said = sweep.communicate(timeout=60)
    assert "Traceback" not in said
    _wait_until(lambda: not _are_there(sweep.pid))
