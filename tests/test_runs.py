"""Runs: what their identity depends on, and what counts as done."""

import json
from pathlib import Path

import pytest

from bertprune import contracts, fingerprint, runs
from bertprune.contracts import BurnIn, Finetune, PruneAfterFinetune, PrunePretrain
from bertprune.runs import Run


@pytest.fixture(autouse=True)
def own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    notebooks = Path(__file__).parent.parent / "notebooks"
    (tmp_path / "notebooks").symlink_to(notebooks)


def test_identity_is_stable_and_told_by_what_matters(tmp_path: Path) -> None:
    assert Run.of(Finetune()).id == Run.of(Finetune()).id
    different = [
        Finetune(),
        Finetune(epochs=4),
        Finetune(layers=3),
        Finetune(sparsity=0.6),
        Finetune(seed=1),
        Finetune(task=("cola",)),
        Finetune(burn_in_steps=7),
        PruneAfterFinetune(),
        PrunePretrain(),
        BurnIn(),
    ]
    assert len({Run.of(parameters).id for parameters in different}) == len(different)


def test_data_count_by_content_not_by_place(tmp_path: Path) -> None:
    for name, line in (("one", "A line."), ("two", "A line."), ("three", "Another line.")):
        (tmp_path / f"{name}.txt").write_text(f"{line}\n")
    one, two, three = (Run.of(BurnIn(text=(f"{name}.txt",))).id for name in ("one", "two", "three"))
    assert one == two != three


def test_a_run_at_no_sparsity_is_shared_by_all_methods() -> None:
    dense = Run.of(Finetune(sparsity=0.0))
    assert Run.of(Finetune(sparsity=0.0, method="random")).id == dense.id
    assert Run.of(PruneAfterFinetune(sparsity=0.9)).upstream == dense


def test_pruning_after_fine_tuning_is_told_by_how_it_prunes() -> None:
    different = [
        PruneAfterFinetune(),
        PruneAfterFinetune(scope="global"),
        PruneAfterFinetune(method="random"),
        PruneAfterFinetune(sparsity=0.6),
        PruneAfterFinetune(recovery_epochs=1),
    ]
    assert len({Run.of(p).id.rpartition("-")[2] for p in different}) == len(different)
    # It prunes in one shot, but is compared with what was pruned along a ramp.
    assert Run.of(PruneAfterFinetune(ramp_steps=7)).id != Run.of(PruneAfterFinetune()).id


def _finished(parameters: BurnIn) -> Run:
    run = Run.of(parameters)
    run.folder.mkdir(parents=True)
    record = {
        "parameters": contracts.as_values(run.parameters),
        "page": fingerprint.page_key("finetune"),
    }
    (run.folder / runs.RECORD_FILE).write_text(json.dumps(record))
    return run


def test_done_is_a_record_with_these_parameters() -> None:
    run = Run.of(Finetune())
    assert not run.is_done()
    run = _finished(Finetune())
    assert run.is_done() and run.is_current()
    record = run.record()
    record["parameters"]["epochs"] = 9
    (run.folder / runs.RECORD_FILE).write_text(json.dumps(record))
    assert not run.is_done()


def test_a_parameter_added_later_orphans_nothing() -> None:
    run = _finished(Finetune())
    record = run.record()
    del record["parameters"]["warmup_steps"]
    (run.folder / runs.RECORD_FILE).write_text(json.dumps(record))
    assert run.is_done()


def test_what_was_begun_under_another_default_is_begun_anew() -> None:
    run = Run.of(BurnIn(text=("lab:0:300",), dev_share=0.1, burn_in_steps=1))
    rows = run.work()
    assert (run.partial_folder / runs.TRIES_FILE).read_text() == "|"
    assert run.work().equals(rows)
    assert (run.partial_folder / runs.TRIES_FILE).read_text() == "|"
    file = run.partial_folder / runs.PARAMETERS_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dev_examples": 7}))
    (run.partial_folder / runs.ROWS_FILE).write_text("of then")
    assert run.work().equals(rows)


def test_a_page_out_of_date_keeps_what_was_trained() -> None:
    run = _finished(Finetune())
    record = run.record() | {"page": "older"}
    (run.folder / runs.RECORD_FILE).write_text(json.dumps(record))
    (run.folder / runs.ROWS_FILE).write_text("kept")
    assert run.is_done() and not run.is_current()
    run.reopen()
    assert not run.is_done()
    assert (run.partial_folder / runs.ROWS_FILE).read_text() == "kept"
