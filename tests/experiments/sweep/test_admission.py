"""Who may work: a worker that differs in what results come from is named, with both sides."""

from dataclasses import replace

import pytest

from bertprune.experiments.runs import Run
from bertprune.experiments.sweep import on_worker, task
from bertprune.experiments.sweep.admission import (
    Edition,
    Worker,
    differences,
    introduce,
    refusal,
    refusal_beside,
)
from bertprune.experiments.sweep.task import is_there

from ...finished import write_record

HERE = Edition(
    {"torch": "2.13.0"}, {"finetune": "0123"}, {"finetune": "4567"}, {"finetune": "float32"}
)
OTHER_TORCH = replace(HERE, versions={"torch": "2.12.0"})
OTHER_CODE = replace(HERE, code={"finetune": "89ab"})
OTHER_PAGES = replace(HERE, pages={"finetune": "89ab"})
IN_BF16 = replace(HERE, precision={"finetune": "bf16"})
GOOD = Worker("node1", sees_folder=True, lock_holds=True, edition=HERE)
ON_GPU = replace(GOOD, host="node2", gpu="H100", gpu_bytes=1 << 36)


def test_workers_alike_may_work() -> None:
    assert not refusal(GOOD, HERE, says_gpu=False)
    assert not refusal(ON_GPU, HERE, says_gpu=True)


@pytest.mark.parametrize(
    ("worker", "said"),
    [
        (replace(GOOD, sees_folder=False, edition=None), "does not see .*bertprune export"),
        (replace(GOOD, lock_holds=False), "locks in .* do not reach it"),
        (replace(GOOD, edition=OTHER_TORCH), "versions torch 2.12.0 where this machine has 2.13.0"),
        (replace(GOOD, edition=OTHER_CODE), "code finetune 89ab where this machine has 0123"),
        (replace(GOOD, edition=OTHER_PAGES), "pages finetune 89ab where this machine has 4567"),
        (
            replace(GOOD, edition=IN_BF16),
            "precision finetune bf16 where this machine has float32: a --set precision",
        ),
    ],
)
def test_who_differs_is_refused(worker: Worker, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(refusal(worker, HERE, says_gpu=False))


def test_a_gpu_that_is_none_is_refused() -> None:
    assert "torch finds none" in refusal(GOOD, HERE, says_gpu=True)


def test_who_has_fewer_cores_than_a_run_has_threads_is_refused() -> None:
    two = replace(GOOD, cores=2)
    assert not refusal(two, HERE, says_gpu=False, threads=2)
    said = refusal(two, HERE, says_gpu=False, threads=4)
    assert "may use 2 cores, and --threads gives each run 4" in said


def test_a_gpu_that_was_not_said_is_refused() -> None:
    assert "has a GPU (H100) that it was not started with" in refusal(ON_GPU, HERE, says_gpu=False)


def test_who_came_first_decides_where_all_train() -> None:
    other = replace(GOOD, products="oneDNN with AVX512")
    assert not refusal_beside(GOOD, GOOD) and not refusal_beside(ON_GPU, ON_GPU)
    assert not refusal_beside(ON_GPU, GOOD) and not refusal_beside(ON_GPU, other)
    assert "trains on processors" in refusal_beside(GOOD, ON_GPU)
    assert "multiplies by oneDNN" in refusal_beside(GOOD, other)


def test_the_first_difference_is_said_with_both_sides() -> None:
    here = {"data": {"text": "a", "sst2": "b"}, "seed": 1}
    assert not differences(here, {"seed": 1, "data": {"text": "a", "sst2": "b"}})
    said = differences(here, {"data": {"text": "a", "sst2": "c"}, "seed": 2})
    assert said == "data sst2 c where this machine has b"
    assert differences({}, {"new": 1}) == "new 1 where this machine has None"


def test_this_machine_would_let_itself_work(plan: list[Run]) -> None:
    from bertprune.experiments.lock import locked

    lock = plan[0].partial_folder.with_name("sweep.lock")
    with locked("sweep", lock):
        worker = introduce(plan, lock)
    assert worker.edition is not None
    assert not refusal(worker, worker.edition, says_gpu=bool(worker.gpu))
    assert not introduce(plan, lock).lock_holds


def test_a_folder_that_is_not_shared_is_noticed(
    plan: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bertprune.experiments.sweep import admission

    monkeypatch.setattr(admission, "_SECONDS_UNTIL_LOCK_APPEARS", 0.3)
    lock = plan[0].partial_folder.with_name("sweep.lock")
    assert not introduce(plan, lock).sees_folder


def test_other_data_at_a_worker_are_named(plan: list[Run]) -> None:
    tuned = plan[-1]
    identities = [run.identity for run in (*on_worker.needed_by([tuned]), tuned)]
    other = [one | {"data": dict.fromkeys(one["data"], "other")} for one in identities]
    first = next(name for name in identities[0]["data"])
    said = on_worker._refusal([tuned], other)
    assert f"data {first} {identities[0]['data'][first]} where this machine has other" in said


def test_what_a_run_needs_must_be_seen(plan: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "_SECONDS_UNTIL_FILES_APPEAR", 0.3)
    tuned = plan[-1]
    needed = on_worker.needed_by([tuned])
    identities = [run.identity for run in (*needed, tuned)]
    assert f"does not see the result of {needed[0].id}" in on_worker._refusal([tuned], identities)
    for run in needed:
        write_record(run)
    assert not on_worker._refusal([tuned], identities)


def test_a_result_that_appears_late_is_waited_for(
    plan: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Run] = []

    def is_done(run: Run) -> bool:
        looks.append(run)
        return len(looks) > 3

    monkeypatch.setattr(Run, "is_done", is_done)
    assert is_there(plan[0]) and len(looks) == 4
