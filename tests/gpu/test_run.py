"""What `make test-gpu` does: there is a table whatever happens, in time, of steps that exist."""

import re
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from bertprune.experiments import studies
from bertprune.speed.bench.benchmark import CASES

from . import made_up_project, run, wheels
from .run import Step


@pytest.fixture
def fake_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    # The first has begun something that would hold its output open.
    slow = "import os, time; os.fork(); time.sleep(99)"
    fake = {
        "slow": Step("a slow one", 1, [["-c", slow]], run.SWEPT),
        "good": Step("a good one", 60, [["-c", "print('3 executed, 0 failed')"]], run.SWEPT),
        "bad": Step("a bad one", 60, [["-c", "1 / 0"], ["-c", "print('1 executed')"]], run.SWEPT),
        "last": Step("the last one", 60, [["-c", "print('done')"]], run.SWEPT),
    }
    monkeypatch.setattr(run, "steps", lambda on_cpu=False: fake)
    monkeypatch.setattr(run, "PROJECT", tmp_path)
    monkeypatch.setattr(run, "LOGS", tmp_path / "logs")


@pytest.mark.usefixtures("fake_steps")
def test_a_step_that_fails_or_is_cut_off_leaves_a_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run.main(["--on-cpu"]) == 1
    said = capsys.readouterr().out
    assert "ZeroDivisionError" in said and str(tmp_path / "logs/bad.log") in said
    lines = said.split("On the CPU")[1].splitlines()[2:]
    assert [re.split("  +", line)[:2] for line in lines] == [
        ["what", "how it went"],
        ["a slow one", "cut off"],
        ["a good one", "passed"],
        ["", "3 executed, 0 failed"],
        ["a bad one", "failed (1)"],
        ["the last one", "passed"],
    ]
    assert run.main(["--on-cpu", "good", "last"]) == 0


@pytest.mark.usefixtures("fake_steps")
def test_without_a_gpu_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "gpu", lambda: "")
    assert run.main([]) == 2
    assert "no GPU that torch sees: --on-cpu" in capsys.readouterr().err
    monkeypatch.setattr(run, "gpu", lambda: "Abacus 9000")
    assert run.main(["good"]) == 0
    assert "On Abacus 9000" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run.main(["better"])
    assert "there is no step better: take slow, good" in capsys.readouterr().err


def test_all_steps_together_take_less_than_eight_minutes() -> None:
    assert sum(step.limit_s for step in run.steps().values()) <= 8 * 60 - 45


def test_every_case_of_the_benchmark_that_needs_a_gpu_is_a_step() -> None:
    words = {word for step in run.steps().values() for one in step.commands for word in one}
    assert {name for name, case in CASES.items() if case.needs_gpu} <= words


@pytest.mark.parametrize("study", ["paper", "paper-as-run"])
def test_the_made_up_project_has_all_that_the_paper_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: str
) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").symlink_to(wheels.PROJECT / "notebooks")
    made_up_project.make(made_up_project.SHAPES["tiny"])
    plan = studies.load(f"{study}-first-steps.yaml").plan()
    arms = studies.load(study).arms.keys() - {"epochs_before_pruning"}
    assert arms <= {str(one.identity["arm"]) for one in plan}
    for one in {one.inputs: one for one in plan}.values():
        one.check_inputs()


def test_the_wheels_are_what_the_project_needs_beside_what_is_there() -> None:
    names = {canonicalize_name(one.name) for one in wheels.needed()}
    assert {"torch", "papermill", "pytest"} <= names and not names & wheels.NOT_NEEDED
    found = wheels.with_needs(["papermill"], "3.12")
    assert {"papermill", "nbclient", "click"} <= found and "torch" not in found
    assert wheels.with_needs(["not-installed-here"], "3.12") == set()
