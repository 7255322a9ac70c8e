"""Places: what is none says what would be one, and queues get the jobs that Dask describes."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bertprune.base.errors import UserError
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
    assert "--lifetime" in script[-1] and script[-1].endswith("--nthreads 1")
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
