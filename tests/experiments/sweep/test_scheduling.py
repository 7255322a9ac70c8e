"""The sweep: order, failures, what is done already; any executor will do."""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from bertprune.base import progress
from bertprune.base.errors import UserError
from bertprune.cli import main
from bertprune.experiments import execution, stacking, studies
from bertprune.experiments.lock import InWork
from bertprune.experiments.runs import Run, lineage
from bertprune.experiments.sweep import local, scheduling, task
from bertprune.experiments.sweep.local import thread_counts
from bertprune.experiments.sweep.scheduling import sweep
from bertprune.experiments.timekeeping import PROGRESS_FILE
from bertprune.protocol import notebook_parameters
from bertprune.protocol.arms import FROM_SCRATCH, arm_of, seed_of

from ...finished import write_record


class Inline(Executor):
    """Does at once what it is given, as the simplest executor there is."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _sweep(plan: list[Run]) -> scheduling.Outcome:
    return sweep(plan, Inline(), thread_counts(plan, 2))


def test_each_run_once_after_what_it_needs(plan: list[Run], executed: list[str]) -> None:
    outcome = _sweep(plan)
    assert sorted(executed) == sorted(run.id for run in plan) == sorted(outcome.done)
    assert not outcome.failed and not outcome.skipped


def test_what_is_done_is_not_repeated(plan: list[Run], executed: list[str]) -> None:
    _sweep(plan[:3])
    first = list(executed)
    outcome = _sweep(plan)
    assert outcome.skipped == first
    assert len(executed) == len(set(executed)) == len(plan)


@pytest.mark.parametrize("at_once", [1, 8])
def test_all_of_a_stage_comes_before_any_of_the_next(
    plan: list[Run], executed: list[str], at_once: int
) -> None:
    last_first = [*lineage(plan[-1]), plan[-1]]
    stages = {run: int(run not in last_first) for run in plan}
    outcome = sweep(plan, Inline(), thread_counts(plan, 2), at_once, stages)
    assert set(executed[: len(last_first)]) == {run.id for run in last_first}
    assert sorted(executed) == sorted(outcome.done) == sorted(run.id for run in plan)


def test_a_failure_stops_only_what_needs_it(
    plan: list[Run], executed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    works = execution.execute
    bad = next(r for r in plan if r.notebook == "prune_pretrain" and "0.50" in r.slug)

    def fail(run: Run, *, threads: int, forked: bool, wait: bool) -> bool:
        if run.id == bad.id:
            raise UserError("out of luck")
        return works(run, threads=threads, forked=forked, wait=wait)

    monkeypatch.setattr(execution, "execute", fail)
    outcome = _sweep(plan)
    needing = {run.id for run in plan if bad.id in [upstream.id for upstream in lineage(run)]}
    assert outcome.failed.pop(bad.id) == "out of luck"
    assert set(outcome.failed) == needing != set()
    assert set(outcome.done) == {run.id for run in plan} - needing - {bad.id}


@pytest.mark.parametrize("at_once", [1, 8])
@pytest.mark.parametrize("which", [0, 3, -1])
def test_what_another_sweep_has_in_work_is_waited_for(
    plan: list[Run],
    executed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    which: int,
    at_once: int,
) -> None:
    """It is in work when this one comes to it, and done a moment later."""
    monkeypatch.setattr(stacking, "train", lambda parameters, most: None)
    monkeypatch.setattr(scheduling, "_SECONDS_BETWEEN_LOOKS", 0.01)
    theirs = plan[which]
    looks: list[Run] = []

    def is_in_work(run: Run) -> bool:
        if run != theirs or len(looks) == 5:
            return False
        looks.append(run)
        if len(looks) == 5:
            write_record(run)
            run.model_folder.mkdir()
        return True

    monkeypatch.setattr(Run, "is_in_work", is_in_work)
    outcome = sweep(plan, Inline(), thread_counts(plan, 2), at_once)
    assert outcome.skipped == [theirs.id] and not outcome.failed
    assert sorted([*executed, theirs.id]) == sorted(run.id for run in plan)


@pytest.mark.parametrize("at_once", [1, 8])
def test_what_another_sweep_takes_at_the_last_moment_is_waited_for(
    plan: list[Run], executed: list[str], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """It was free when this one submitted it, and not when the worker began with it."""
    taken: set[str] = set()
    works = execution.execute

    def in_work_once(run: Run, **options: Any) -> bool:
        if run.id not in taken:
            taken.add(run.id)
            raise InWork(run.id)
        return works(run, **options)

    def stack_in_work_once(parameters: list[notebook_parameters.BurnIn], most: int) -> None:
        in_work = {Run(one).id for one in parameters}
        if not in_work <= taken:
            taken.update(in_work)
            raise InWork(str(in_work))

    monkeypatch.setattr(execution, "execute", in_work_once)
    monkeypatch.setattr(stacking, "train", stack_in_work_once)
    outcome = sweep(plan, Inline(), thread_counts(plan, 2), at_once)
    assert sorted(outcome.done) == sorted(executed) == sorted(run.id for run in plan)
    assert not outcome.failed


def test_when_the_first_run_fails_the_sweep_ends(
    plan: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run, *, threads: int, forked: bool, wait: bool) -> bool:
        raise UserError("out of luck")

    monkeypatch.setattr(execution, "execute", fail)
    outcome = _sweep(plan)
    assert set(outcome.failed) == {run.id for run in plan} and not outcome.done


def test_results_that_do_not_arrive_end_the_sweep(
    plan: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "execute", lambda run, **_: True)
    monkeypatch.setattr(task, "_SECONDS_UNTIL_FILES_APPEAR", 0.3)
    with pytest.raises(UserError, match="do all workers write there"):
        _sweep(plan)


def test_threads_come_from_the_plan(plan: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 8)
    threads = thread_counts(plan, 4)
    # Two of them: that of the study's model, and random weights.
    assert {threads[run] for run in plan if run.notebook == "burn_in"} == {4}
    assert {threads[run] for run in plan if run.notebook == "finetune"} == {2}
    assert set(thread_counts(plan, 100).values()) <= {1, 2, 4, 8}
    elsewhere = thread_counts(plan, 4, cores=16)
    assert {elsewhere[run] for run in plan if run.notebook == "burn_in"} == {8}
    # Four of them side by side, or the two of the last level.
    assert {elsewhere[run] for run in plan if run.notebook == "finetune"} == {4}
    assert {elsewhere[run] for run in plan if run.notebook == "prune_after_finetune"} == {4, 8}


@pytest.fixture
def stacks(executed: list[str], monkeypatch: pytest.MonkeyPatch) -> list[list[Run]]:
    """The runs that were trained together, in order."""
    found: list[list[Run]] = []

    def train(parameters: list[notebook_parameters.BurnIn], most: int) -> None:
        group = [Run(one) for one in parameters]
        assert all(needed.is_done() for run in group for needed in lineage(run))
        assert not {run.id for run in group} & set(executed)
        found.append(group)

    monkeypatch.setattr(stacking, "train", train)
    return found


@pytest.mark.parametrize(("workers", "policy"), [(1, None), (2, "passive")])
def test_threads_sleep_while_they_wait_where_workers_share_the_machine(
    workers: int, policy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    with local.local_workers(workers) as executor:
        assert executor.submit(os.getenv, "OMP_WAIT_POLICY").result() == policy


def test_runs_of_a_kind_train_together_before_their_notebooks(
    executed: list[str], stacks: list[list[Run]]
) -> None:
    changes = ["sparsity=[0.0, 0.5, 0.9]", "seed=[0, 1]", "model=[lab]"]
    plan = studies.load("ci", changes).plan()
    outcome = sweep(plan, Inline(), thread_counts(plan, 1), at_once=8)
    assert sorted(executed) == sorted(run.id for run in plan) == sorted(outcome.done)
    of_notebook = {
        notebook: [group for group in stacks if group[0].notebook == notebook]
        for notebook in ("burn_in", "prune_pretrain", "finetune")
    }
    # Random weights and the given BERT are two kinds, and burn-in is done alone.
    assert not of_notebook["burn_in"]
    # The dense models of both seeds first, since the others are compared with them.
    dense, pruned = of_notebook["prune_pretrain"]
    assert sorted(run.slug for run in dense) == ["0.00-seed0", "0.00-seed1"]
    assert len(pruned) == 8 and {seed_of(run.parameters) for run in pruned} == {0, 1}
    for group in stacks:
        assert len({stacking.kind(run) for run in group}) == 1 < len(group)
        assert arm_of(group[0].parameters) != FROM_SCRATCH


def test_runs_of_which_only_the_page_is_old_do_not_train_again(
    plan: list[Run],
    executed: list[str],
    stacks: list[list[Run]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _sweep(plan)
    executed.clear()
    monkeypatch.setattr("bertprune.experiments.runs.page_key", lambda notebook: "another")
    outcome = sweep(plan, Inline(), thread_counts(plan, 1), at_once=8)
    assert sorted(executed) == sorted(run.id for run in plan) == sorted(outcome.done)
    assert not stacks


def test_runs_of_a_stack_that_fails_train_alone(
    plan: list[Run], executed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(parameters: list[notebook_parameters.BurnIn], most: int) -> None:
        raise MemoryError("too many")

    monkeypatch.setattr(stacking, "train", fail)
    outcome = sweep(plan, Inline(), thread_counts(plan, 1), at_once=8)
    assert sorted(outcome.done) == sorted(run.id for run in plan) and not outcome.failed


def test_how_far_runs_are_is_said_by_status_and_by_the_sweep(
    plan: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    running, lost, new, cut, *others = plan
    for run in (running, lost, new, cut):
        run.partial_folder.mkdir(parents=True)
    files = {run: run.partial_folder / PROGRESS_FILE for run in plan}
    state = {"what": "finetune sst2", "done": 20, "total": 60, "unit": " steps", "rate_per_s": 0.2}
    now = {"time": time.time()}
    files[running].write_text(json.dumps(state | now), encoding="utf-8")
    # Nobody knows how long a run will take that said nothing for minutes.
    files[lost].write_text(json.dumps(state | {"time": now["time"] - 300}), encoding="utf-8")
    progress.report_to(files[new])
    with progress.bar("pairing sentences", 200, " documents") as shown:
        shown.update()
    progress.report_to(None)
    files[cut].write_text('{"what": "fine', encoding="utf-8")

    assert main(["status", "ci", "--set", "sparsity=[0.0, 0.5]"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    said = {name: words.removesuffix(", published") for name, words in lines}
    assert said[running.id] == "finetune sst2, 20 of 60 steps, 3 min left"
    assert said[lost.id] == "finetune sst2, 20 of 60 steps"
    assert said[new.id].startswith("pairing sentences, 1 of 200 documents")
    assert said[cut.id] == "begun"
    assert {said[run.id] for run in others} == {"missing"}

    words = scheduling._in_work([running, cut, lost, others[0]])
    assert words == f"{said[running.id]}; {said[lost.id]}"
    assert scheduling._in_work([lost] * 6) == "; ".join([*[said[lost.id]] * 4, "2 more"])
